package main

import (
	"fmt"
	"os"
	"time"

	"tapedeck/internal/benchtest"
)

// share is the CPU time a step took.
type share struct {
	name string
	cpu  time.Duration
}

type processes struct{ running []*benchtest.Process }

func (p *processes) start(name, program string, args ...string) *benchtest.Process {
	one, err := benchtest.Start(name, program, args...)
	exitOn(err)
	p.running = append(p.running, one)
	return one
}

// stop ends the processes, the last started first, and returns what CPU each
// took.
func (p *processes) stop() ([]share, error) {
	shares := make([]share, len(p.running))
	for len(p.running) > 0 {
		last := len(p.running) - 1
		one := p.running[last]
		p.running = p.running[:last]
		cpu, err := one.Stop()
		if err != nil {
			return nil, err
		}
		shares[last] = share{one.Name, cpu}
	}
	return shares, nil
}

func (p *processes) kill() {
	for _, one := range p.running {
		one.Kill()
		if said := one.Output(); said != "" {
			fmt.Fprintf(os.Stderr, "%s: %s\n", one.Name, said)
		}
	}
}
