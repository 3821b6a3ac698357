package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"tapedeck/internal/service"
)

// life is one process of a slot.
type life struct {
	name    string // <slot>-<n>
	cmd     *exec.Cmd
	output  *os.File
	exited  chan struct{}
	mu      sync.Mutex
	asked   syscall.Signal // that ended it, 0: none
	askedAt time.Time
}

func (l *life) ending() (syscall.Signal, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked, l.askedAt
}

// slot keeps one process alive, as a supervisor does, but while it is held.
type slot struct {
	name    string
	folder  string // of the outputs
	command func(name string) *exec.Cmd
	ready   string // in the output, once it serves

	fault sync.Mutex // one fault at a time

	mu    sync.Mutex
	held  bool
	lives []*life
	quits []string // that nobody asked for
}

// keep starts the process again whenever it ends, until ctx is done.
func (s *slot) keep(ctx context.Context) {
	for ctx.Err() == nil {
		l, err := s.start()
		if err != nil {
			s.note(err.Error())
		}
		if l != nil {
			<-l.exited
			if asked, _ := l.ending(); asked == 0 {
				s.note(fmt.Sprintf("%s ended by itself: %s: %s", l.name, l.cmd.ProcessState, lastLine(l.output.Name())))
			}
		}
		service.Sleep(ctx, 200*time.Millisecond)
	}
}

func (s *slot) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quits = append(s.quits, text)
}

func (s *slot) start() (*life, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return nil, nil
	}
	l := &life{name: fmt.Sprintf("%s-%d", s.name, len(s.lives)+1), exited: make(chan struct{})}
	var err error
	if l.output, err = os.Create(filepath.Join(s.folder, l.name+".log")); err != nil {
		return nil, err
	}
	l.cmd = s.command(l.name)
	l.cmd.Stdout, l.cmd.Stderr = l.output, l.output
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		l.cmd.Wait()
		l.output.Close()
		close(l.exited)
	}()
	s.lives = append(s.lives, l)
	return l, nil
}

// current is the process that runs and was not told to end, nil without one.
func (s *slot) current() *life {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lives) == 0 {
		return nil
	}
	l := s.lives[len(s.lives)-1]
	select {
	case <-l.exited:
		return nil
	default:
	}
	if asked, _ := l.ending(); asked != 0 {
		return nil
	}
	return l
}

// serving is the process that has said that it is ready.
func (s *slot) serving() *life {
	l := s.current()
	if l == nil {
		return nil
	}
	b, err := os.ReadFile(l.output.Name())
	if err != nil || !bytes.Contains(b, []byte(s.ready)) {
		return nil
	}
	return l
}

// end ends the process and holds the slot; SIGTERM has to work within 40 s.
func (s *slot) end(sig syscall.Signal) error {
	s.mu.Lock()
	s.held = true
	s.mu.Unlock()
	l := s.current()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	l.asked, l.askedAt = sig, time.Now()
	l.mu.Unlock()
	l.cmd.Process.Signal(sig)
	select {
	case <-l.exited:
	case <-time.After(40 * time.Second):
		l.cmd.Process.Kill()
		<-l.exited
		return fmt.Errorf("%s did not end within 40 s of %s", l.name, sig)
	}
	// One that had not said a word did not listen to signals yet.
	if said := lastLine(l.output.Name()); sig == syscall.SIGTERM && !l.cmd.ProcessState.Success() && said != "" {
		return fmt.Errorf("%s ended after SIGTERM with %s: %s", l.name, l.cmd.ProcessState, said)
	}
	return nil
}

func (s *slot) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = false
}

func (s *slot) signal(sig syscall.Signal) {
	if l := s.current(); l != nil {
		l.cmd.Process.Signal(sig)
	}
}

// panics are the outputs that hold a crash.
func (s *slot) panics() (found []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lives {
		b, err := os.ReadFile(l.output.Name())
		for _, word := range []string{"\npanic: ", "fatal error: ", "panicked"} {
			if err == nil && bytes.Contains(append([]byte("\n"), b...), []byte(word)) {
				found = append(found, fmt.Sprintf("%s: output has %q", l.name, strings.TrimSpace(word)))
			}
		}
	}
	return found
}

func lastLine(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
