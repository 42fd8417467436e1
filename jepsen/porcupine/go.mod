module lockbox-porcupine

go 1.16
