package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tapedeck/internal/service"
)

// ExitInterrupted is the exit code of a process that a second signal killed.
const ExitInterrupted = 130

// Interrupt is the cause of a context that a signal ended.
type Interrupt struct{ os.Signal }

func (i Interrupt) Error() string {
	if number, ok := i.Signal.(syscall.Signal); ok {
		return "interrupted by " + unix.SignalName(number)
	}
	return "interrupted by " + i.String()
}

// interrupted says so where a command names only what it was at when a signal
// ended ctx. The exit code stays.
func interrupted(ctx context.Context, command string, err error) error {
	cause, ok := errors.AsType[Interrupt](context.Cause(ctx))
	if !ok || !errors.Is(err, context.Canceled) {
		return err
	}
	return exit(ExitCode(err), fmt.Errorf("%s: %w", command, cause))
}

// exitError ends the process with a code. Without an error it is silent.
type exitError struct {
	code int
	err  error
}

func exit(code int, err error) error { return &exitError{code, err} }

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// ExitCode is the exit code that says what err says.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return 1
}

// Message is what to print about err: one line that says what, and where
// there is one, a second line that says what to do. It is empty when there is
// nothing to say.
func Message(err error) string {
	if e, ok := errors.AsType[*exitError](err); err == nil || ok && e.err == nil {
		return ""
	}
	message := "tapedeck: " + oneLine(err.Error())
	if hint := service.HintOf(err); hint != "" {
		message += "\n" + indent(hint)
	}
	return message
}

// oneLine joins the lines of an error, each once.
func oneLine(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		line = strings.Join(strings.Fields(line), " ")
		if line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.ReplaceAll(strings.Join(lines, "; "), ":; ", ": ")
}
