package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/events/selector"
	"tapedeck/internal/service"
	"tapedeck/scenariogen"
	"tapedeck/scenariogen/scenario"
)

type scenarioCommand struct {
	Create scenarioCreate `cmd:"" help:"Make a scenario of recorded traffic."`
	List   scenarioList   `cmd:"" help:"List the scenarios of the archive."`
	Show   scenarioShow   `cmd:"" help:"Show what a scenario holds and what was learned."`
	Export scenarioExport `cmd:"" help:"Write a scenario as a folder of readable files."`
	Import scenarioImport `cmd:"" help:"Take a folder of files into the archive."`
}

type scenarioCreate struct {
	service.Flags `group:"Stores:"`
	Name          string        `arg:"" help:"Name of the scenario; a name that exists gets a new version."`
	Selector      string        `placeholder:"SELECTOR" help:"Which exchanges, e.g. '{service=\"cart\"}'. Default: all but replays. Inbound ones become tests, outbound ones mocks."`
	Last          bool          `help:"Only of the last recording."`
	Since         string        `placeholder:"TIME" help:"Only since then: 10m, 2h, 15:04 or 2006-01-02T15:04:05Z."`
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
	fmt.Fprintf(env.Stdout, "\nnext:\n  %s\n  %s\n", nextOn(c.Data, "scenario", "show", ready.Name), nextOn(c.Data, "replay", ready.Name, "--mock", "--target", "http://localhost:3000")+" -- CMD")
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
	r := events.ScenarioRequest{ID: events.NewID(now).String(), Name: c.Name, Selector: c.Selector, By: os.Getenv("USER")}
	if _, err := parseSelector(c.Selector); err != nil {
		return r, err
	}
	f := trafficFlags{Flags: c.Flags, Last: c.Last, Since: c.Since, Until: c.Until}
	q, err := f.query(now)
	if err != nil {
		return r, err
	}
	r.From, r.To = q.From, q.To
	if c.Last && c.Selector == "" {
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

type scenarioList struct {
	service.Flags `group:"Stores:"`
	Output        string `short:"o" enum:"table,json" default:"table" help:"table or json (one object a line)."`
}

func (c *scenarioList) Run(ctx context.Context, env *Env) error {
	archive, err := openArchive(ctx, &c.Flags)
	if err != nil {
		return err
	}
	names, err := scenario.Names(ctx, archive)
	if err != nil {
		return fmt.Errorf("list scenarios: %w", err)
	}
	t := &table{head: []string{"NAME", "VERSION", "TESTS", "SESSIONS", "MOCKS", "SERVICE", "CREATED"}}
	for _, name := range names {
		opened, err := scenario.Open(ctx, archive, name, "")
		if err != nil {
			return fmt.Errorf("list scenarios: %w", err)
		}
		m := opened.Manifest()
		if c.Output == "json" {
			if err := printJSON(env.Stdout, m.Ready()); err != nil {
				return err
			}
			continue
		}
		t.add(cell{text: m.Name, color: bold}, cell{text: m.Version}, number(m.Tests), number(m.Sessions), number(m.Mocks),
			cell{text: m.Service.Service}, cell{text: m.CreatedAt.Local().Format("2006-01-02 15:04:05")})
	}
	if c.Output == "json" {
		return nil
	}
	if len(names) == 0 {
		fmt.Fprintln(env.Stderr, "no scenarios found; make one: "+nextOn(c.Data, "scenario", "create", "NAME", "--last"))
		return nil
	}
	t.print(env)
	return nil
}

func number(n int) cell { return cell{text: fmt.Sprint(n), right: true} }

type scenarioShow struct {
	service.Flags `group:"Stores:"`
	Name          string `arg:"" help:"Name of the scenario."`
	Version       string `help:"Version. Default: the newest."`
	Output        string `short:"o" enum:"text,json" default:"text" help:"text or json (the manifest)."`
}

func (c *scenarioShow) Run(ctx context.Context, env *Env) error {
	archive, err := openArchive(ctx, &c.Flags)
	if err != nil {
		return err
	}
	opened, err := openScenario(ctx, archive, c.Name, c.Version, c.Data)
	if err != nil {
		return err
	}
	if c.Output == "json" {
		return printJSON(env.Stdout, opened.Manifest())
	}
	ready := opened.Manifest().Ready()
	printReady(env, &ready)
	for _, warning := range opened.Manifest().Warnings {
		fmt.Fprintf(env.Stdout, "  %s %s\n", env.paint(yellow, "note:"), warning)
	}
	for reason, n := range opened.Manifest().Skipped {
		fmt.Fprintf(env.Stdout, "  left out: %s, %s\n", plural(n, "exchange"), reason)
	}
	return printSessions(ctx, env, opened)
}

func printSessions(ctx context.Context, env *Env, s *scenario.Scenario) error {
	for session, err := range s.Tests(ctx, scenario.Share{}) {
		if err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "\nsession %s\n", env.paint(cyan, short(session.Id)))
		for i, test := range session.Tests {
			q, a := test.Exchange.Request, test.Exchange.Response
			status := "no answer"
			if a != nil {
				status = a.Status
			}
			fmt.Fprintf(env.Stdout, "  %2d  %-6s %s → %s\n", i+1, q.GetMethod(), printable([]byte(q.GetTarget())), env.paint(classColor(test.Class), status))
			for _, v := range test.Volatile {
				fmt.Fprintln(env.Stdout, env.paint(faint, fmt.Sprintf("        %s differs in each run (%s)", v.Place, v.Class)))
			}
		}
		for _, l := range session.Links {
			fmt.Fprintln(env.Stdout, env.paint(faint, fmt.Sprintf("      answer %d %s → request %d %s", l.From+1, l.FromPlace, l.To+1, l.ToPlace)))
		}
	}
	return nil
}

type scenarioExport struct {
	service.Flags `group:"Stores:"`
	Name          string `arg:"" help:"Name of the scenario."`
	Folder        string `arg:"" help:"Folder to write: readable files to edit and commit."`
	Version       string `help:"Version. Default: the newest."`
}

func (c *scenarioExport) Run(ctx context.Context, env *Env) error {
	archive, err := openArchive(ctx, &c.Flags)
	if err != nil {
		return err
	}
	opened, err := openScenario(ctx, archive, c.Name, c.Version, c.Data)
	if err != nil {
		return err
	}
	if err := scenario.ExportFolder(ctx, opened, c.Folder); err != nil {
		return err
	}
	m := opened.Manifest()
	fmt.Fprintf(env.Stdout, "wrote %s and %s of %s to %s\n", plural(m.Tests, "test"), plural(m.Mocks, "mock"), m.Name, c.Folder)
	return nil
}

type scenarioImport struct {
	service.Flags `group:"Stores:"`
	Folder        string `arg:"" help:"Folder of an exported scenario."`
	Name          string `help:"Another name for it."`
}

func (c *scenarioImport) Run(ctx context.Context, env *Env) error {
	archive, err := openArchive(ctx, &c.Flags)
	if err != nil {
		return err
	}
	m, err := importFolder(ctx, archive, c.Folder, c.Name, events.NewID(time.Now()).String())
	if err != nil {
		return err
	}
	ready := m.Ready()
	printReady(env, &ready)
	return nil
}
