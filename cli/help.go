package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

const helpHead = `tapedeck records the API traffic of services and turns it into something to
look at, tests to run, load to apply and mocks to develop against.

Usage: tapedeck COMMAND [flags]      (tapedeck COMMAND -h is its manual)
`

const helpFoot = `
Try it:            tapedeck demo
Record a program:  tapedeck record --inbound 8080=localhost:3000 -- npm start
Flags win over the environment (TAPEDECK_NATS, TAPEDECK_DATABASE, TAPEDECK_ARCHIVE, …).
`

var helpGroups = []struct {
	group Group
	title string
}{
	{People, "Commands"},
	{Services, "Services (what containers run; up runs all of them in one process)"},
	{Operations, "Operations"},
}

// printHelp prints the table of commands.
func printHelp(w io.Writer) {
	fmt.Fprint(w, helpHead)
	for _, g := range helpGroups {
		fmt.Fprintf(w, "\n%s:\n", g.title)
		for _, c := range Commands() {
			if c.Group == g.group {
				fmt.Fprintf(w, "  %-12s %s\n", c.Name, c.Help)
			}
		}
	}
	fmt.Fprint(w, helpFoot)
}

// printHelp prints the manual of one command.
func (c *Command) printHelp(options kong.HelpOptions, parsed *kong.Context) error {
	w := parsed.Stdout
	var manual strings.Builder
	parsed.Stdout = &manual
	err := kong.DefaultHelpPrinter(options, parsed)
	parsed.Stdout = w
	if err != nil {
		return err
	}
	text := manual.String()
	if c.Program {
		text = strings.Replace(text, " [flags]\n", " [flags] [-- CMD …]\n", 1)
	}
	fmt.Fprint(w, text)
	if len(c.Examples) == 0 {
		return nil
	}
	fmt.Fprint(w, "\nExamples:\n")
	for _, example := range c.Examples {
		line, comment, _ := strings.Cut(example, "  # ")
		if comment != "" {
			fmt.Fprintf(w, "  # %s\n", comment)
		}
		fmt.Fprintf(w, "  tapedeck %s\n", line)
	}
	return nil
}
