package cli

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Env is where a command prints, and the program it was given.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Color          bool     // Stdout understands colours
	Live           bool     // Stderr understands a line that is drawn again
	Width          int      // of Stdout in columns
	Program        []string // CMD and its arguments, behind "--"
}

// Terminal is the environment of this process. Colours are for terminals
// only, and NO_COLOR turns them off (no-color.org).
func Terminal() *Env {
	width := columns(os.Stdout)
	return &Env{
		Stdin: os.Stdin, Stdout: &output{File: os.Stdout}, Stderr: os.Stderr,
		Color: width > 0 && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		Live:  columns(os.Stderr) > 0 && os.Getenv("TERM") != "dumb",
		Width: max(width, 0),
	}
}

func (e Env) with(program []string) *Env {
	e.Program = program
	return &e
}

// columns is the width of a terminal, 0 for what is none.
func columns(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return max(int(size.Col), 40)
}
