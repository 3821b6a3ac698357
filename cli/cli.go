// Package cli is what people type: the table of commands, their flags, and
// one file a command that is not a service.
//
// # What it does
//
// A command is a struct with kong tags and a Run method. Flags win over the
// environment (TAPEDECK_*). Without --nats the commands start the services
// they need in this process, on an embedded JetStream and a directory; with
// --nats they publish the same events and follow the answers.
//
// # Exit codes
//
// 0: it worked. 1: it did not, or a replay missed. 2: the command line is
// wrong, or a replay could not run or is incomplete. `record` and `mock` exit
// with the code of the program they started.
package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"tapedeck/internal/service"
)

// Command is a line of the table of commands.
type Command struct {
	Name     string
	Group    Group
	Help     string     // one line, in the table
	Examples []string   // command lines without "tapedeck", each with a "# comment"
	New      func() any // a pointer to a struct with kong tags
	Program  bool       // takes "-- CMD"
}

// Group is where the help lists a command.
type Group int

// The groups. Services are nouns, commands for people are verbs.
const (
	People Group = iota
	Services
	Operations
	Hidden
)

// Run runs the command line args, without the program's name.
func Run(ctx context.Context, args []string, env *Env) error {
	if len(args) == 0 {
		printHelp(env.Stderr)
		return exit(2, nil)
	}
	if slices.Contains([]string{"-h", "--help", "help"}, args[0]) {
		return help(ctx, args[1:], env)
	}
	if args[0] == "--version" {
		args = []string{"version"}
	}
	c, err := lookup(args[0])
	if err != nil {
		return err
	}
	if err := c.run(ctx, args[1:], env); err != nil {
		return interrupted(ctx, c.Name, err)
	}
	return lost(env.Stdout)
}

func help(ctx context.Context, args []string, env *Env) error {
	if len(args) == 0 {
		printHelp(env.Stdout)
		return nil
	}
	c, err := lookup(args[0])
	if err != nil {
		return err
	}
	return c.run(ctx, []string{"-h"}, env)
}

func lookup(name string) (*Command, error) {
	commands := Commands()
	for i := range commands {
		if commands[i].Name == name {
			return &commands[i], nil
		}
	}
	err := fmt.Errorf("unknown command %q", name)
	if strings.HasPrefix(name, "-") {
		err = fmt.Errorf("unknown flag %s: the command comes first", name)
	}
	if near := nearest(name, commands); near != "" {
		err = fmt.Errorf("%w, did you mean %q?", err, near)
	}
	return nil, exit(2, service.Hint(err, "tapedeck -h lists the commands"))
}

// run parses the flags of one command and runs it.
func (c *Command) run(ctx context.Context, args []string, env *Env) error {
	args, program, err := c.split(args)
	if err != nil {
		return err
	}
	env = env.with(program)
	helped := false
	parser, err := kong.New(c.New(),
		kong.Name("tapedeck "+c.Name), kong.Description(c.Help),
		kong.Writers(env.Stdout, env.Stderr), kong.Exit(func(int) { helped = true }),
		kong.Help(c.printHelp), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(env),
	)
	if err != nil {
		return fmt.Errorf("command %s: %w", c.Name, err)
	}
	parsed, err := parser.Parse(args)
	if helped {
		return nil
	}
	if err != nil {
		return c.usage(err)
	}
	return parsed.Run()
}

// split cuts "-- CMD" off the arguments.
func (c *Command) split(args []string) (flags, program []string, err error) {
	i := slices.Index(args, "--")
	if i < 0 {
		return args, nil, nil
	}
	if !c.Program {
		return nil, nil, c.usage(errors.New("takes no program behind --"))
	}
	if i+1 == len(args) {
		return nil, nil, c.usage(errors.New("has no program behind --"))
	}
	return args[:i], args[i+1:], nil
}

func (c *Command) usage(err error) error {
	name := c.Name
	if wrong, ok := errors.AsType[*kong.ParseError](err); ok && wrong.Context != nil {
		if sub := cmp.Or(wrong.Context.Selected(), wrong.Context.Model.DefaultCmd); sub != nil {
			name += " " + sub.Name // its manual has the flags
		}
	}
	return exit(2, service.Hint(fmt.Errorf("%s: %w", name, err), "tapedeck "+name+" -h explains it"))
}

// nearest finds the command that name is most likely a slip or the beginning
// of.
func nearest(name string, commands []Command) string {
	best, distance := "", min(3, len(name))
	for _, c := range commands {
		if c.Group == Hidden {
			continue
		}
		if len(name) > 2 && strings.HasPrefix(c.Name, name) {
			return c.Name
		}
		if d := editDistance(name, c.Name); d < distance {
			best, distance = c.Name, d
		}
	}
	return best
}

// editDistance counts the letters to insert, delete or replace (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
