package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tapedeck/cli/demo"
	"tapedeck/internal/service"
)

type demoCommand struct {
	Play demoPlay `cmd:"" default:"withargs" hidden:"" help:"Play the demo."`
	Shop demoShop `cmd:"" hidden:"" help:"Run one service of the shop."`
}

// demoShop is a process of the shop: the demo starts them, and so can you.
type demoShop struct {
	demo.Config
}

func (c *demoShop) Run(ctx context.Context, env *Env) error {
	return demo.Run(ctx, c.Config, quiet(service.Flags{}, env))
}

// demoPlay is the main job from end to end, on the shop.
type demoPlay struct {
	Data     string `placeholder:"DIR" env:"TAPEDECK_DATA" help:"Keep everything in this folder. Default: a new one in the system's folder for temporary files."`
	Database string `placeholder:"DSN" env:"TAPEDECK_DATABASE" help:"Index the recording in this TimescaleDB as well."`
	Rounds   int    `default:"2" help:"Visits of each of the three customers."`
	Log      string `default:"" enum:",debug,info,warn,error" placeholder:"LEVEL" help:"Least level that is logged. Default: warn."`
}

// demonstration is one run of the demo.
type demonstration struct {
	demoPlay
	env     *Env
	exe     string
	began   time.Time
	address map[string]string // of every listener, by what it is
	order   string            // id of an exchange to show
}

// The names of the demo's listeners: app.X is the service X itself, in.X is
// capture before it, out.X.Y is capture between X and its dependency Y.
var demoListeners = []string{
	"app.gateway", "app.orders", "app.catalog", "app.payments",
	"in.gateway", "in.orders", "in.catalog",
	"out.gateway.orders", "out.gateway.catalog", "out.orders.catalog", "out.orders.payments",
}

const demoScenario = "checkout"

// Tests are what customers do at the gateway; of its dependencies only the
// payment API is not ours and is mocked.
const demoSelector = `{service="gateway" && direction=inbound || host="payments.example"}`

func (c *demoPlay) Run(ctx context.Context, env *Env) error {
	os.Unsetenv("TAPEDECK_NATS") // the demo needs no server, and its processes are to use none
	d := &demonstration{demoPlay: *c, env: env, began: time.Now(), address: map[string]string{}}
	if err := d.prepare(); err != nil {
		return err
	}
	steps := []struct {
		title string
		run   func(context.Context) error
	}{
		{"Start a shop of three services and record what its customers do", d.record},
		{"Look at what was recorded", d.look},
		{"Make a scenario: what customers did becomes tests, what the payment API answered becomes mocks", d.create},
		{"Replay it against the shop, with the payment API mocked", d.replay},
		{"Replay it against a release that forgets the tax in the total", d.replayRegression},
	}
	for i, step := range steps {
		began := time.Now()
		fmt.Fprintf(env.Stdout, "\n%s\n", env.paint(bold, fmt.Sprintf("▶ %d/%d  %s", i+1, len(steps), step.title)))
		err := step.run(ctx)
		if ctx.Err() != nil {
			return exit(ExitInterrupted, fmt.Errorf("demo: %w", context.Cause(ctx)))
		}
		if err != nil {
			return fmt.Errorf("demo: %w", err)
		}
		fmt.Fprintln(env.Stdout, env.paint(faint, fmt.Sprintf("  (%s)", shortDuration(time.Since(began)))))
	}
	d.printNext()
	return nil
}

func (d *demonstration) prepare() (err error) {
	if d.exe, err = os.Executable(); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if d.Data == "" {
		if d.Data, err = os.MkdirTemp("", "tapedeck-demo-"); err != nil {
			return fmt.Errorf("make data folder: %w", err)
		}
	}
	free, err := freePorts(len(demoListeners))
	if err != nil {
		return err
	}
	for i, name := range demoListeners {
		d.address[name] = free[i]
	}
	return nil
}

func (d *demonstration) look(ctx context.Context) error {
	if err := d.run(ctx, 0, "traffic", "list", "--last", "--limit", "15"); err != nil {
		return err
	}
	d.say("")
	return d.run(ctx, 0, "traffic", "map", "--last")
}

// create makes the scenario, and fills in what redaction has taken out of it:
// the shop checks passwords.
func (d *demonstration) create(ctx context.Context) error {
	if err := d.run(ctx, 0, "scenario", "create", demoScenario, "--last", "--selector", demoSelector); err != nil {
		return err
	}
	accounts := filepath.Join(d.Data, "accounts.txt")
	if err := os.WriteFile(accounts, []byte(demo.Known()), 0o600); err != nil {
		return fmt.Errorf("write the customers' accounts: %w", err)
	}
	d.say("")
	d.say("redaction has replaced passwords and e-mails; the shop's own list of test accounts has them")
	if err := d.run(ctx, 0, "scenario", "secrets", demoScenario, d.secrets()); err != nil {
		return err
	}
	return d.run(ctx, 0, "redact", "fill", d.secrets(), accounts)
}

func (d *demonstration) secrets() string { return filepath.Join(d.Data, "secrets.yaml") }

func (d *demonstration) replay(ctx context.Context) error {
	return d.run(ctx, 0, d.replayArgs("passed.html", false)...)
}

func (d *demonstration) replayRegression(ctx context.Context) error {
	return d.run(ctx, 1, d.replayArgs("missed.html", true)...)
}

// replayArgs replay against a new shop in one process, which listens where
// the recorded gateway did.
func (d *demonstration) replayArgs(report string, regression bool) []string {
	args := []string{"replay", demoScenario, "--secrets", d.secrets(), "--mock", "--target", "http://" + d.address["app.gateway"],
		"--speed", "4", "--html", filepath.Join(d.Data, report), "--"}
	args = append(args, self()...)
	args = append(args, "demo", "shop", "all", "--listen", d.address["app.gateway"], "--connect", "payments.example="+d.address["out.orders.payments"])
	if regression {
		args = append(args, "--regression")
	}
	return args
}

// run shows a command line and runs it in this process. It must end with the
// exit code want.
func (d *demonstration) run(ctx context.Context, want int, args ...string) error {
	line := d.onData(args)
	fmt.Fprintln(d.env.Stdout, d.env.paint(cyan, "  $ "+commandLine(line...)))
	// The program of a replay is this binary, also under `go run`.
	line = replaceProgram(line, self(), d.exe)
	err := Run(ctx, line, d.env)
	if got := ExitCode(err); got != want {
		if Message(err) != "" {
			return err
		}
		return fmt.Errorf("%s: exit code %d, want %d", strings.Join(args[:2], " "), got, want)
	}
	return nil
}

// onData adds the data folder, before "--".
func (d *demonstration) onData(args []string) []string {
	var line []string
	for i, a := range args {
		if a == "--" {
			return append(append(line, "--data", d.Data), args[i:]...)
		}
		line = append(line, a)
	}
	return append(line, "--data", d.Data)
}

// replaceProgram puts the path of this program where line calls it.
func replaceProgram(line, call []string, exe string) []string {
	for i := range line {
		if line[i] == "--" && len(line) > i+len(call) {
			return append(append(line[:i+1:i+1], exe), line[i+1+len(call):]...)
		}
	}
	return line
}

func (d *demonstration) say(format string, args ...any) {
	fmt.Fprintf(d.env.Stdout, "  "+format+"\n", args...)
}

// printNext says what to try on what the demo left behind: each line works.
func (d *demonstration) printNext() {
	fmt.Fprintf(d.env.Stdout, "\n%s\n", d.env.paint(bold, "Next steps"))
	for _, step := range d.nextSteps() {
		fmt.Fprintf(d.env.Stdout, "  # %s\n  %s\n", step.why, step.line)
	}
	fmt.Fprintf(d.env.Stdout, "\nReports: %s and %s\nDone in %s; delete %s when you have seen enough.\n",
		filepath.Join(d.Data, "passed.html"), filepath.Join(d.Data, "missed.html"), shortDuration(time.Since(d.began)), d.Data)
}

type nextStep struct{ why, line string }

func (d *demonstration) nextSteps() []nextStep {
	line := func(args ...string) string { return commandLine(d.onData(args)...) }
	return []nextStep{
		{"all that went wrong", line("traffic", "{status>=400}")},
		{"what the orders service did, with its calls", line("traffic", "list", "--service", "orders", "--limit", "100")},
		{"one order with headers and bodies", line("traffic", "show", d.order)},
		{"all that mentions Darjeeling, for jq", line("traffic", "list", "--text", "darjeeling", "-o", "json")},
		{"how much and how fast", line("traffic", "throughput", "--last")},
		{"what the scenario has learned: tokens and ids that go from answer to request", line("scenario", "show", demoScenario)},
		{"the replay once more, with a JUnit file for CI", line(append([]string{"replay", demoScenario, "--junit", filepath.Join(d.Data, "junit.xml")}, d.replayArgs("passed.html", false)[2:]...)...)},
	}
}
