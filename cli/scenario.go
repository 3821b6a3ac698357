package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/internal/service"
	"tapedeck/scenariogen"
)

type scenarioCommand struct {
	Create  scenarioCreate  `cmd:"" help:"Make a scenario of recorded traffic."`
	List    scenarioList    `cmd:"" help:"List the scenarios of the archive."`
	Show    scenarioShow    `cmd:"" help:"Show what a scenario holds and what was learned."`
	Secrets scenarioSecrets `cmd:"" help:"Write a file of the redacted values that a scenario sends, to be filled in for replay --secrets."`
	Export  scenarioExport  `cmd:"" help:"Write a scenario as a folder of readable files."`
	Import  scenarioImport  `cmd:"" help:"Take a folder of files into the archive."`
}

type scenarioCreate struct {
	service.Flags `group:"Stores:"`
	Name          string        `arg:"" help:"Name of the scenario; a name that exists gets a new version."`
	Selector      string        `arg:"" optional:"" help:"Which exchanges, e.g. '{service=\"cart\"}'. Default: all but replays. Inbound ones become tests, outbound ones mocks."`
	Filter        string        `name:"selector" placeholder:"SELECTOR" help:"The same as a flag."`
	Service       string        `help:"Only of this service."`
	Last          bool          `help:"Only of the last recording."`
	Since         string        `placeholder:"TIME" help:"Only since then: 10m, 2h, 15:04, 2006-01-02 or 2006-01-02T15:04:05Z."`
	Until         string        `placeholder:"TIME" help:"Only until then."`
	Timeout       time.Duration `default:"10m" help:"How long to wait for the scenario."`
	Output        string        `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *scenarioCreate) Run(ctx context.Context, env *Env) error {
	request, err := c.request(time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout, fmt.Errorf("no answer after %s", c.Timeout))
	defer cancel()
	create := c.here
	if c.NATS != "" {
		create = c.elsewhere
	}
	ready, err := create(ctx, env, request)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, ready)
	}
	printReady(env, &ready)
	again := []string{"replay", ready.Name, "--mock", "--target", "http://localhost:3000"}
	if ready.Mocks == 0 {
		fmt.Fprintln(env.Stdout, "  no calls to dependencies were chosen, so a replay calls the real ones")
		again = slices.Delete(again, 2, 3)
	}
	next := []string{nextOn(c.Data, "scenario", "show", ready.Name)}
	if ready.Credentials > 0 {
		next = append(next, nextOn(c.Data, "scenario", "secrets", ready.Name, "secrets.yaml")+"  # to be filled in")
		again = append(again, "--secrets", "secrets.yaml")
	}
	next = append(next, nextOn(c.Data, again...)+" -- CMD")
	fmt.Fprintf(env.Stdout, "\nnext:\n  %s\n", strings.Join(next, "\n  "))
	return nil
}

// here makes the scenario in this process, of what lies in the archive.
func (c *scenarioCreate) here(ctx context.Context, env *Env, r events.ScenarioRequest) (events.ScenarioReady, error) {
	from, err := openSource(ctx, &c.Flags)
	if err != nil {
		return events.ScenarioReady{}, err
	}
	defer from.close()
	return scenariogen.Create(ctx, scenariogen.Config{}, scenariogen.Deps{
		Archive: from.archive, Index: from.index, Protocols: protocols(), Log: quiet(c.Flags, env),
	}, r)
}

// elsewhere asks the scenariogens on --nats.
func (c *scenarioCreate) elsewhere(ctx context.Context, env *Env, r events.ScenarioRequest) (ready events.ScenarioReady, err error) {
	conn, js, err := service.Connect(c.NATS, "scenario", quiet(c.Flags, env))
	if err != nil {
		return ready, err
	}
	defer conn.Close()
	return askScenario(ctx, js, r)
}

func (c *scenarioCreate) request(now time.Time) (events.ScenarioRequest, error) {
	r := events.ScenarioRequest{ID: events.NewID(now).String(), Name: c.Name, By: os.Getenv("USER")}
	f := trafficFlags{Flags: c.Flags, Selector: c.Selector, Filter: c.Filter, Service: c.Service, Last: c.Last, Since: c.Since, Until: c.Until}
	q, err := f.query(now)
	if err != nil {
		return r, err
	}
	r.From, r.To = q.From, q.To
	if !q.Selector.All() {
		r.Selector = q.Selector.String()
	}
	if c.Last && r.Selector == "" {
		last, err := lastRecording(c.Data)
		if err != nil {
			return r, err
		}
		r.Selector, err = onlyServices(last.Services)
		return r, err
	}
	return r, nil
}

// onlyServices is the selector of a recording's services, so that what others
// recorded at the same time stays out.
func onlyServices(names []string) (string, error) {
	var all []string
	for _, name := range names {
		e, err := selector.Equals("service", name)
		if err != nil {
			return "", err
		}
		all = append(all, strings.Trim(e.String(), "{}"))
	}
	return "{" + strings.Join(all, " || ") + "}", nil
}

func printReady(env *Env, r *events.ScenarioReady) {
	w := env.Stdout
	fmt.Fprintf(w, "scenario %s, version %s: %s in %s, %s\n", env.paint(bold, r.Name), r.Version,
		plural(r.Tests, "test"), plural(r.Sessions, "session"), plural(r.Mocks, "mock"))
	for _, d := range r.Dependencies {
		listen := ""
		if d.Listen != "" {
			listen = ", reached at " + d.Listen
		}
		fmt.Fprintf(w, "  dependency %s: %s%s\n", d.Name, plural(d.Mocks, "recorded answer"), listen)
	}
	if r.Credentials > 0 {
		fmt.Fprintf(w, "  a replay needs %s that redaction has replaced\n", plural(r.Credentials, "value"))
	}
	if r.Cuts > 0 {
		fmt.Fprintf(w, "  %s\n", env.paint(yellow, plural(r.Cuts, "session")+" cut: scenario show says where"))
	}
}

// nextOn is a command line on the same data folder.
func nextOn(data string, args ...string) string {
	if data != defaultData {
		args = append(args, "--data", data)
	}
	return commandLine(args...)
}

// defaultData is the data folder that needs no flag.
const defaultData = ".tapedeck"
