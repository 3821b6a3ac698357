// Package benchtest runs the processes of a benchmark, each side its own, and
// says what CPU time and memory each took.
package benchtest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"tapedeck/internal/service"
)

// Process is a running program.
type Process struct {
	Name   string
	cmd    *exec.Cmd
	output output
	exited chan error
}

// output is what a program said; it can be read while the program runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// Start starts a program.
func Start(name, program string, args ...string) (*Process, error) {
	p := &Process{Name: name, cmd: exec.Command(program, args...), exited: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() { p.exited <- p.cmd.Wait() }()
	return p, nil
}

// Output is what the program has written so far.
func (p *Process) Output() string { return p.output.String() }

// CPU is what it and its children have used so far.
func (p *Process) CPU() time.Duration { return treeCPU(p.cmd.Process.Pid) }

// Memory is the most that it and its children had in memory at a time, each
// for itself, and what they have now, in bytes.
func (p *Process) Memory() (most, now int64) { return treeMemory(p.cmd.Process.Pid) }

// Stop ends it and returns the CPU time that it and its children took. An
// error says that it did not end as it should; the time holds all the same.
func (p *Process) Stop() (time.Duration, error) {
	p.cmd.Process.Signal(syscall.SIGTERM)
	var err error
	select {
	case err = <-p.exited:
	case <-time.After(60 * time.Second):
		p.cmd.Process.Kill()
		<-p.exited
		err = fmt.Errorf("it did not end within 60 s")
	}
	if err != nil {
		err = fmt.Errorf("stop %s: %w: %s", p.Name, err, p.Output())
	}
	return p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), err
}

// Kill ends it at once.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// Answering waits until something listens on each address.
func Answering(ctx context.Context, addresses ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, a := range addresses {
		for {
			conn, err := net.Dial("tcp", a)
			if err == nil {
				conn.Close()
				break
			}
			if !service.Sleep(ctx, 20*time.Millisecond) {
				return fmt.Errorf("nothing listens on %s: %w", a, err)
			}
		}
	}
	return nil
}

// FreeAddress is one of this machine that nothing listens on, below the ports
// that connections are made from: none of all that the machine does takes it
// before somebody listens.
func FreeAddress() (string, error) {
	var err error
	for range 100 {
		var l net.Listener
		if l, err = net.Listen("tcp", fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(20_000))); err == nil {
			defer l.Close()
			return l.Addr().String(), nil
		}
	}
	return "", fmt.Errorf("no port is free: %w", err)
}
