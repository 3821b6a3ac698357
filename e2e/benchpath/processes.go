package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// share is the CPU time a step took.
type share struct {
	name string
	cpu  time.Duration
}

type process struct {
	name   string
	cmd    *exec.Cmd
	output bytes.Buffer
	exited chan error
}

type processes struct{ running []*process }

func (p *processes) start(name, program string, args ...string) {
	one := &process{name: name, cmd: exec.Command(program, args...), exited: make(chan error, 1)}
	one.cmd.Stdout, one.cmd.Stderr = &one.output, &one.output
	exitOn(one.cmd.Start())
	go func() { one.exited <- one.cmd.Wait() }()
	p.running = append(p.running, one)
}

// stop ends the processes, the last started first, and returns what CPU each
// took.
func (p *processes) stop() ([]share, error) {
	shares := make([]share, len(p.running))
	for len(p.running) > 0 {
		last := len(p.running) - 1
		one := p.running[last]
		p.running = p.running[:last]
		one.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-one.exited:
			if err != nil {
				return nil, fmt.Errorf("%s: %w: %s", one.name, err, one.output.Bytes())
			}
		case <-time.After(30 * time.Second):
			one.cmd.Process.Kill()
			return nil, fmt.Errorf("%s did not stop in 30 s: %s", one.name, one.output.Bytes())
		}
		state := one.cmd.ProcessState
		shares[last] = share{one.name, state.UserTime() + state.SystemTime()}
	}
	return shares, nil
}

func (p *processes) kill() {
	for _, one := range p.running {
		one.cmd.Process.Kill()
		<-one.exited
		if one.output.Len() > 0 {
			fmt.Fprintf(os.Stderr, "%s: %s\n", one.name, one.output.Bytes())
		}
	}
}
