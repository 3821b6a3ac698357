package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"tapedeck/internal/service"
)

// program is a program that a command started, CMD, with all its children: it
// leads a process group, so that `npm start` ends with its node.
type program struct {
	name   string
	group  int
	exited chan struct{}
	code   int
}

// programs are those that run, for KillPrograms.
var programs = struct {
	sync.Mutex
	running map[*program]bool
}{running: map[*program]bool{}}

// startProgram starts argv with more environment variables. It does not read
// from a terminal: a process group in the background would be stopped by that.
func startProgram(argv, more []string, env *Env) (*program, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), more...)
	cmd.Stdout, cmd.Stderr = fileOf(env.Stdout), env.Stderr
	if f, ok := env.Stdin.(*os.File); ok && !service.IsTerminal(f) {
		cmd.Stdin = f
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second // for pipes that a grandchild keeps open
	if err := cmd.Start(); err != nil {
		return nil, exit(2, service.Hint(fmt.Errorf("start %s: %w", argv[0], err), "is the program behind -- written as you start it in a shell?"))
	}
	p := &program{name: argv[0], group: cmd.Process.Pid, exited: make(chan struct{})}
	programs.Lock()
	programs.running[p] = true
	programs.Unlock()
	go func() {
		defer close(p.exited)
		p.code = waitCode(cmd)
		programs.Lock()
		delete(programs.running, p)
		programs.Unlock()
	}()
	return p, nil
}

// waitCode is the exit code as a shell gives it: 128+n after signal n.
func waitCode(cmd *exec.Cmd) int {
	err := cmd.Wait()
	failed, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		return cmd.ProcessState.ExitCode()
	}
	if status, ok := failed.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return failed.ExitCode()
}

// stop passes a signal on to the whole group and waits; what does not end
// within grace is killed.
func (p *program) stop(s os.Signal, grace time.Duration) {
	number, ok := s.(syscall.Signal)
	if !ok {
		number = syscall.SIGTERM
	}
	syscall.Kill(-p.group, number) // an error means that it has ended
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case <-p.exited:
	case <-patience.C:
	}
	syscall.Kill(-p.group, syscall.SIGKILL) // children that outlived it, too
	<-p.exited
}

// wait waits until the program ends by itself, or ctx is done: then it gets
// the signal that ended ctx. It returns the exit code, and 0 for a program
// that ended by the signal we passed on.
func (p *program) wait(ctx context.Context, grace time.Duration) int {
	select {
	case <-p.exited:
		return p.code
	case <-ctx.Done():
	}
	p.stop(signalOf(ctx), grace)
	if p.code >= 128 {
		return 0
	}
	return p.code
}

// signalOf is the signal that ended ctx.
func signalOf(ctx context.Context) os.Signal {
	if i, ok := errors.AsType[Interrupt](context.Cause(ctx)); ok {
		return i.Signal
	}
	return syscall.SIGTERM
}

// KillPrograms kills every program that runs: for the second signal.
func KillPrograms() {
	programs.Lock()
	defer programs.Unlock()
	for p := range programs.running {
		syscall.Kill(-p.group, syscall.SIGKILL)
	}
}

// waitPort waits until something accepts connections at address, the program
// ends, or ctx is done.
func waitPort(ctx context.Context, address string, p *program) error {
	dialer := net.Dialer{Timeout: time.Second}
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 250*time.Millisecond) {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended():
			return fmt.Errorf("wait for %s: %s ended with exit code %d before it listened", address, p.name, p.code)
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: nothing listens there: %w", address, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}

// ended is done when the program has ended; never for no program.
func (p *program) ended() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.exited
}
