package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestREADME runs the commands of the README in their order, with free ports
// for the ones it names and the shop for the reader's service.
func TestREADME(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	script := readmeScript(t, commandsOf(string(text)))
	file := filepath.Join(t.TempDir(), "readme.txtar")
	if err := os.WriteFile(file, []byte(script), 0o644); err != nil {
		t.Fatal(err)
	}
	p := params(t, "")
	p.Files = []string{file}
	testscript.Run(t, p)
}

// commandsOf is every line of the README's sh blocks, without comments.
func commandsOf(text string) []string {
	var commands []string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			command, _, _ := strings.Cut(line, "  #")
			if command = strings.TrimSpace(command); command != "" {
				commands = append(commands, command)
			}
		}
	}
	return commands
}

func readmeScript(t *testing.T, commands []string) string {
	script := []string{
		"ports SERVICE IN DEPENDENCY OUT NATS",
		"exec tapedeck demo shop payments --listen $DEPENDENCY &payments&",
		"waitport $DEPENDENCY",
	}
	run := 0
	for _, c := range commands {
		lines, err := readmeCommand(c)
		if err != nil {
			t.Error(err)
		}
		script, run = append(script, lines...), run+len(lines)
	}
	if run < 12 {
		t.Fatalf("only %d commands found: this test looks at nothing", run)
	}
	return strings.Join(script, "\n") + "\n"
}

const yourService = "tapedeck demo shop all --listen $SERVICE --connect payments.example=$OUT"

// readmeCommand is what the script does for a command of the README.
func readmeCommand(command string) ([]string, error) {
	program, _, _ := strings.Cut(command, " ")
	c := strings.NewReplacer(
		"./your-service", yourService, "http://localhost:3000", "http://$SERVICE",
		"8080=localhost:3000", "$IN=$SERVICE", "8081=localhost:4000", "$OUT=$DEPENDENCY",
		"show ID", "show $ID", "postgres://…", "$DSN",
	).Replace(command)
	switch {
	case program == "make":
		makefile, err := os.ReadFile("Makefile")
		if target := strings.Fields(command)[1]; err != nil || !strings.Contains(string(makefile), "\n"+target+":") {
			return nil, fmt.Errorf("README says %q, but the Makefile has no target %s", command, target)
		}
		return nil, nil // this test runs inside of make
	case strings.HasPrefix(command, "tapedeck record"):
		return []string{
			"exec " + c + " &record&", "waitport $SERVICE $IN", "drive http://$IN 1", "kill -INT record", "wait record",
			"stdout '^recorded [1-9]'", "exec tapedeck traffic", "last-id ID",
		}, nil
	case strings.HasPrefix(command, "tapedeck up"):
		c, _, _ = strings.Cut(c, " --database")
		direct := strings.ReplaceAll(yourService, "$OUT", "$DEPENDENCY") // no capture stands between
		return []string{
			"exec " + direct + " &service&", "exec " + c + " --listen $NATS &up&", "waitport $SERVICE $NATS", "env NATS_URL=nats://$NATS",
		}, nil
	case strings.HasPrefix(command, "tapedeck mock"):
		return []string{strings.Replace("exec "+c, yourService, "curl -s -d {} http://$OUT/v1/charges", 1)}, nil
	case strings.HasPrefix(command, "tapedeck scenario secrets"):
		return []string{"exec " + c, "known accounts.txt", "exec tapedeck redact fill secrets.yaml accounts.txt"}, nil // what the reader does by hand
	case strings.HasPrefix(command, "nats pub"):
		c = strings.ReplaceAll(c, "$SERVICE", "'$SERVICE'") // it stands between quotes
		return []string{"exec " + c, "result $NATS r1 passed"}, nil
	case program == "tapedeck" || program == "nats":
		return []string{"exec " + c}, nil
	}
	return nil, fmt.Errorf("README shows %q, which this test can't run", command)
}
