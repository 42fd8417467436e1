// Judges the registers of a run with Porcupine, which shares nothing with our own checkers.
// Reads registers.tsv (jepsen/README.md) from standard input, and exits with 0 when every
// register is linearizable, 1 when one is not, 2 when one took too long.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// limit is how long one register may take.
const limit = 5 * time.Minute

// move is an operation on the register of a secret. Versions are numbers; 0 is none.
type move struct {
	what          string
	version, from int64
}

var model = porcupine.Model{
	Init: func() interface{} { return int64(0) },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		asked, known := input.(move), output.(bool)
		switch {
		case asked.what == "r":
			return state == asked.version, state
		case asked.what == "c" && state != asked.from:
			// A swap that nobody answered may have been refused.
			return !known, state
		}
		return true, asked.version
	},
}

func main() {
	registers, lines := map[int64][]porcupine.Operation{}, bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var client, key, call, end int64
		var asked move
		var ended string
		line := strings.ReplaceAll(lines.Text(), "\t", " ")
		if strings.HasPrefix(line, "client ") {
			continue
		}
		_, err := fmt.Sscan(line, &client, &key, &asked.what, &asked.version, &asked.from, &call, &ended)
		known := ended != "inf"
		if end = math.MaxInt64; err == nil && known {
			_, err = fmt.Sscan(ended, &end)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%q: %v\n", line, err)
			os.Exit(2)
		}
		registers[key] = append(registers[key], porcupine.Operation{
			ClientId: int(client), Input: asked, Call: call, Output: known, Return: end,
		})
	}
	if err := lines.Err(); err != nil || len(registers) == 0 {
		fmt.Fprintln(os.Stderr, "there is no table on standard input:", err)
		os.Exit(2)
	}
	worst, operations := 0, 0
	for key, history := range registers {
		operations += len(history)
		switch porcupine.CheckOperationsTimeout(model, history, limit) {
		case porcupine.Illegal:
			fmt.Printf("register %d is not linearizable\n", key)
			worst = 1
		case porcupine.Unknown:
			fmt.Printf("register %d took longer than %v\n", key, limit)
			if worst == 0 {
				worst = 2
			}
		}
	}
	fmt.Printf("%d operations on %d registers: exit %d\n", operations, len(registers), worst)
	os.Exit(worst)
}
