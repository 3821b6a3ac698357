// Command tapedeck records the API traffic of services and turns it into
// something to look at, tests to run, load to apply and mocks to develop
// against. The table of commands is cli.Commands; `tapedeck -h` prints it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"tapedeck/cli"
)

func main() {
	ctx, drain := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		drain(cli.Interrupt{Signal: <-signals})
		<-signals
		cli.KillPrograms() // what we started must not outlive us
		os.Exit(cli.ExitInterrupted)
	}()

	err := cli.Run(ctx, os.Args[1:], cli.Terminal())
	if message := cli.Message(err); message != "" {
		fmt.Fprintln(os.Stderr, message)
	}
	os.Exit(cli.ExitCode(err))
}
