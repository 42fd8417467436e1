# The provider of the cloud as it is, pointed at this service. It dials whatever discovery tells it with
# the system's roots, so the authority is named by a variable of the environment, and its call to a
# version service of the vendor's, which would carry the token, is switched off:
#   export SSL_CERT_FILE=$PWD/ca.pem YC_TERRAFORM_INITIALIZATION_SILENCE=true
# The nodes' certificates must carry the name that `api.advertise` says.
terraform {
  required_providers {
    yandex = {
      source = "yandex-cloud/yandex"
    }
  }
}

variable "cloud_id" {
  type = string
}

variable "folder_id" {
  type = string
}

variable "sa_key_file" {
  description = "Authorized key of a service account: lockbox iam key create -o key.json"
  type        = string
}

variable "database_password" {
  type      = string
  sensitive = true
}

provider "yandex" {
  endpoint                 = "lockbox.example.org:8443"
  service_account_key_file = var.sa_key_file
  cloud_id                 = var.cloud_id
  folder_id                = var.folder_id
}

resource "yandex_lockbox_secret" "database" {
  name                = "db"
  deletion_protection = true
}

# Hashed: the state has a hash of the value, and not the value.
resource "yandex_lockbox_secret_version_hashed" "database" {
  secret_id    = yandex_lockbox_secret.database.id
  key_1        = "password"
  text_value_1 = var.database_password
}
