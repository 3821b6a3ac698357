package cli

import (
	"context"
	"fmt"
	"os"
	"strings"

	"tapedeck/internal/service"
	"tapedeck/mocksrv"
)

type mockCommand struct {
	service.Flags `group:"Stores:"`
	Scenario      string            `arg:"" help:"Name of a scenario, or the folder of an exported one."`
	Version       string            `help:"Version of the scenario. Default: the newest."`
	Only          []string          `placeholder:"DEPENDENCY" help:"Mock these dependencies only. Repeatable."`
	Listen        map[string]string `placeholder:"DEPENDENCY=ADDR" help:"Where a dependency is mocked. Default: where its recorded --outbound LISTEN was, else any free port. Repeatable."`
	Host          string            `default:"127.0.0.1" help:"Address to listen on where only a port is named."`
	Proxy         string            `placeholder:"ADDR" help:"Where the HTTP proxy listens that answers for all; off: none. Default: any free port."`
	Latency       string            `default:"none" enum:"none,recorded" help:"none: answers come at once; recorded: after the recorded time."`
	PassThrough   bool              `help:"Send what has no recorded answer to the real dependency."`
}

// Run answers for the dependencies until CMD ends or Ctrl-C.
func (c *mockCommand) Run(ctx context.Context, env *Env) error {
	opened, err := readScenario(ctx, &c.Flags, c.Scenario, c.Version)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	mocks, err := startMocks(ctx, cancel, env, mocksrv.Options{
		Scenario: opened, Dependencies: c.Only, Listen: c.Listen, Host: c.Host, Proxy: c.Proxy,
		Latency: c.Latency, PassThrough: c.PassThrough, Log: quiet(c.Flags, env),
	})
	if err != nil {
		return err
	}
	code := 0
	if env.Program == nil {
		fmt.Fprintln(env.Stderr, "Ctrl-C ends the mocks")
		<-ctx.Done()
	} else {
		p, err := startProgram(env.Program, mocks.variables(), env)
		if err != nil {
			mocks.stop()
			return err
		}
		code = p.wait(ctx, recordGrace)
	}
	err = mocks.stop()
	for _, r := range mocks.server.Results() {
		printMock(env, &r)
	}
	if err != nil {
		return err
	}
	if code != 0 {
		return exit(code, nil)
	}
	return nil
}

// mocks are mocked dependencies in this process.
type mocks struct {
	server *mocksrv.Server
	cancel context.CancelFunc
	done   chan error
}

// startMocks listens and says where. When they fail later, fail is called.
func startMocks(ctx context.Context, fail context.CancelCauseFunc, env *Env, o mocksrv.Options) (*mocks, error) {
	server, err := mocksrv.Listen(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, a := range server.Addresses() {
		printAddress(env, a)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx)) // they outlive what calls them
	m := &mocks{server: server, cancel: cancel, done: make(chan error, 1)}
	go func() {
		err := server.Run(running)
		if err != nil {
			fail(err)
		}
		m.done <- err
	}()
	return m, nil
}

func printAddress(env *Env, a mocksrv.Address) {
	if a.Dependency == "" {
		fmt.Fprintf(env.Stderr, "mocks of all hosts by HTTP proxy at %s\n", a.Address)
		return
	}
	fmt.Fprintf(env.Stderr, "mock of %s at %s\n", a.Dependency, a.Address)
	if a.Recorded != "" && portOf(a.Recorded) != portOf(a.Address) {
		fmt.Fprintf(env.Stderr, "  %s, where it was recorded, is in use: point the program at %s\n", a.Recorded, a.Address)
	}
}

func portOf(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// stop lets answers under way finish.
func (m *mocks) stop() error {
	m.cancel()
	err := <-m.done
	m.done <- err // for whoever stops it again
	return err
}

// variables are the environment of the program whose calls are mocked: the
// proxy that answers for all, and where each dependency is mocked. The proxy
// answers for those addresses, too.
func (m *mocks) variables() []string {
	var variables []string
	for _, a := range m.server.Addresses() {
		if a.Dependency == "" {
			variables = append(variables, proxyVariables(a.Address)...)
			variables = append(variables, javaVariable(javaProxy(a.Address, false), os.Getenv("JAVA_TOOL_OPTIONS")))
			continue
		}
		variables = append(variables, mockVariable(a.Dependency)+"="+a.Address)
	}
	return variables
}

// mockVariable is TAPEDECK_MOCK_PAYMENTS_EXAMPLE for payments.example.
func mockVariable(dependency string) string {
	return "TAPEDECK_MOCK_" + strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(dependency))
}
