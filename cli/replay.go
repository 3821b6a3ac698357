package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/mocksrv"
	"tapedeck/replayer"
	"tapedeck/scenariogen/scenario"
)

type replayCommand struct {
	service.Flags `group:"Stores:"`
	Scenario      string `arg:"" help:"Name of a scenario, or the folder of an exported one."`
	Version       string `help:"Version of the scenario. Default: the newest."`
	Target        string `required:"" placeholder:"URL" help:"Where the requests go, e.g. http://localhost:3000."`
	ID            string `placeholder:"ID" help:"Id of the replay. Default: a new one."`

	Mock     bool          `group:"Target:" help:"Mock the dependencies of the target with what was recorded. CMD gets proxy variables and TAPEDECK_MOCK_<DEPENDENCY>=host:port, and each mock listens where the recorded --outbound LISTEN did."`
	Only     []string      `group:"Target:" name:"mock-only" placeholder:"DEPENDENCY" help:"Mock these dependencies only."`
	Isolated bool          `group:"Target:" help:"Declare that the target, which was not started by -- CMD, reaches nothing but the mocks. Without it a mocked replay is no proof."`
	Secrets  string        `group:"Target:" placeholder:"FILE" help:"What redaction's tokens stand for, in YAML: what the scenario needs and tapedeck scenario secrets writes down. off: send tokens as they are."`
	Wait     time.Duration `group:"Target:" default:"60s" help:"How long to wait until the target listens."`

	Load loadFlags `embed:"" group:"Load:"`

	Ignore []string `group:"Comparison:" placeholder:"PLACE" help:"Differences there don't count, e.g. response.body.$.total or response.header.Server. Repeatable."`
	Goals  []string `group:"Comparison:" name:"goal" placeholder:"GOAL" help:"What must hold for a pass, e.g. 'latency.p99 < 200ms'. Repeatable."`

	Reports reportFlags `embed:"" group:"Reports:"`
}

type loadFlags struct {
	Speed       float64       `default:"1" help:"Recorded times, so much faster."`
	Rate        float64       `placeholder:"N" help:"So many requests a second instead of recorded times."`
	Fast        bool          `help:"Each session sends one request after another, without pauses."`
	Copies      int           `default:"1" help:"Send every session so often."`
	Duration    time.Duration `placeholder:"TIME" help:"End after this time; sessions begin again until then."`
	Connections int           `default:"64" help:"Connections to the target, at most."`
	Timeout     time.Duration `default:"30s" help:"Of one request."`
}

func (f *loadFlags) load() events.Load {
	l := events.Load{Mode: "recorded", Speed: f.Speed, Copies: f.Copies, Duration: f.Duration, Connections: f.Connections, Timeout: f.Timeout}
	switch {
	case f.Rate > 0:
		l.Mode, l.Rate = "rate", f.Rate
	case f.Fast:
		l.Mode = "fast"
	}
	return l
}

// Run replays in this process, or with --nats by the replayers there.
func (c *replayCommand) Run(ctx context.Context, env *Env) error {
	request, address, err := c.request()
	if err != nil {
		return couldNotRun(err)
	}
	archive, err := openArchive(ctx, &c.Flags)
	if err != nil {
		return couldNotRun(err)
	}
	var result events.ReplayResult
	if c.NATS != "" {
		result, err = c.elsewhere(ctx, env, archive, request, address)
	} else {
		result, err = c.here(ctx, env, archive, request, address)
	}
	if err != nil {
		return couldNotRun(err)
	}
	printVerdict(env, &result)
	if result.Verdict == events.Incomplete && result.Isolation == "unknown" {
		fmt.Fprintln(env.Stdout, "  say --isolated if it calls nothing but the mocks, or let replay start it: -- CMD")
	}
	if result.Verdict == events.Incomplete && result.Tests.Unchecked > 0 {
		fmt.Fprintln(env.Stdout, "  record with a larger --max-body (0 keeps all) to check them")
	}
	if err := c.Reports.write(ctx, env, archive, result); err != nil {
		return couldNotRun(err)
	}
	return verdictCode(result.Verdict)
}

// couldNotRun is exit code 2: neither passed nor missed.
func couldNotRun(err error) error { return exit(2, err) }

// request is what the flags ask for, and the address that the target listens
// on.
func (c *replayCommand) request() (r events.ReplayRequest, address string, err error) {
	target, err := url.Parse(c.Target)
	if err != nil || target.Host == "" || target.Scheme != "http" && target.Scheme != "https" {
		return r, "", service.Hint(fmt.Errorf("target %q is no URL of HTTP", c.Target), "write it like http://localhost:3000")
	}
	r = events.ReplayRequest{ID: c.ID, Scenario: c.Scenario, Version: c.Version, Target: c.Target, Load: c.Load.load(), Goals: c.Goals, By: os.Getenv("USER")}
	if r.ID == "" {
		r.ID = events.NewID(time.Now()).String()
	}
	for _, place := range c.Ignore {
		r.Assertions = append(r.Assertions, events.Assertion{Place: place, Rule: scenario.RuleIgnore})
	}
	if c.Mock || len(c.Only) > 0 {
		r.Mocks = &events.MocksRequest{Dependencies: c.Only}
		if c.Isolated {
			r.Mocks.Isolation = "declared"
		}
	}
	port := target.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[target.Scheme]
	}
	return r, net.JoinHostPort(target.Hostname(), port), nil
}

// here replays in this process: mocks, CMD, then the requests.
func (c *replayCommand) here(ctx context.Context, env *Env, archive *archiveBucket, r events.ReplayRequest, address string) (result events.ReplayResult, err error) {
	options, err := c.options(ctx, env, archive, r, address)
	if err != nil {
		return result, err
	}
	if len(options.Scenario.Manifest().Missing(options.Secrets, r.Transforms)) > 0 {
		return replayer.Run(ctx, options) // it says which: nothing needs to be started for that
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var variables []string
	if r.Mocks != nil {
		mocks, err := startMocks(ctx, cancel, env, mocksrv.Options{Scenario: options.Scenario, Dependencies: c.Only, Secrets: options.Secrets, Log: options.Log})
		if err != nil {
			return result, err
		}
		defer mocks.stop()
		options.Mocks = func(context.Context) ([]events.MockResult, error) { return mocks.server.Results(), nil }
		variables = mocks.variables()
		if env.Program != nil {
			options.Isolation = "declared" // CMD knows no other way than the one we gave it
		}
	}
	stop, err := c.startTarget(ctx, cancel, env, variables, address)
	if err != nil {
		return result, err
	}
	defer stop()
	progress := newReplayProgress(env)
	options.Progress = progress.show
	result, err = replayer.Run(ctx, options)
	progress.line.clear()
	if err != nil {
		fmt.Fprintf(env.Stderr, "the details were not stored: %v\n", err)
	}
	return result, nil
}

// options opens what a replay in this process reads.
func (c *replayCommand) options(ctx context.Context, env *Env, archive *archiveBucket, r events.ReplayRequest, address string) (o replayer.Options, err error) {
	o = replayer.Options{Request: r, Archive: archive, Log: quiet(c.Flags, env)}
	if o.Scenario, err = openScenario(ctx, archive, c.Scenario, c.Version, c.Data); err != nil {
		return o, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return o, err
	}
	if o.Targets, err = replayer.ParseTargets([]string{host, "loopback"}); err != nil { // what the user names is allowed
		return o, err
	}
	o.Secrets, err = openSecrets(env, c.Secrets)
	return o, err
}

// startTarget starts CMD, if there is one, and waits until the target listens.
// When CMD ends before the replay does, the replay ends.
func (c *replayCommand) startTarget(ctx context.Context, cancel context.CancelCauseFunc, env *Env, variables []string, address string) (stop func(), err error) {
	waiting, done := context.WithTimeoutCause(ctx, c.Wait, fmt.Errorf("gave up after %s", c.Wait))
	defer done()
	if env.Program == nil {
		err := waitPort(waiting, address, nil)
		return func() {}, service.Hint(err, "start the target first, or let replay start it: -- CMD")
	}
	if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		conn.Close()
		return nil, service.Hint(fmt.Errorf("something listens at %s already, so %s could not", address, env.Program[0]), "stop it, or leave -- CMD out to replay against it")
	}
	quietly := *env
	quietly.Stdout = env.Stderr // stdout is for the verdict
	p, err := startProgram(env.Program, variables, &quietly)
	if err != nil {
		return nil, err
	}
	stop = func() { p.stop(signalOf(ctx), recordGrace) }
	if err := waitPort(waiting, address, p); err != nil {
		stop()
		return nil, service.Hint(err, "does "+env.Program[0]+" listen on the port of --target?")
	}
	go func() {
		select {
		case <-p.exited:
			cancel(fmt.Errorf("%s ended with exit code %d", p.name, p.code))
		case <-ctx.Done():
		}
	}()
	return stop, nil
}

// elsewhere sends the request to the replayers on --nats.
func (c *replayCommand) elsewhere(ctx context.Context, env *Env, archive *archiveBucket, r events.ReplayRequest, address string) (result events.ReplayResult, err error) {
	if c.Secrets != "" {
		return result, service.Hint(errors.New("--secrets stays on this machine, the replay would not: it runs at --nats"), "give the file to the replayer there: tapedeck replayer --secrets FILE, or up --secrets FILE")
	}
	conn, js, err := service.Connect(c.NATS, "replay", quiet(c.Flags, env))
	if err != nil {
		return result, err
	}
	defer conn.Close()
	if isFolder(c.Scenario) {
		imported, err := importFolder(ctx, archive, c.Scenario, "", r.ID)
		if err != nil {
			return result, err
		}
		r.Scenario, r.Version = imported.Name, imported.Version
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if env.Program != nil {
		stop, err := c.startTarget(ctx, cancel, env, nil, address)
		if err != nil {
			return result, err
		}
		defer stop()
	}
	progress := newReplayProgress(env)
	defer progress.line.clear()
	result, err = askReplay(ctx, js, r, progress.show)
	return result, err
}
