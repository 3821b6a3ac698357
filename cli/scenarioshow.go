package cli

import (
	"context"
	"fmt"

	"tapedeck/internal/service"
	"tapedeck/scenariogen/scenario"
)

type scenarioList struct {
	service.Flags `group:"Stores:"`
	Output        string `short:"o" enum:"table,json" default:"table" help:"table or json (one object a line)."`
}

func (c *scenarioList) Run(ctx context.Context, env *Env) error {
	archive, err := readArchive(ctx, &c.Flags)
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
	archive, err := readArchive(ctx, &c.Flags)
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
	printCredentials(env, opened.Manifest().Credentials)
	for _, warning := range opened.Manifest().Warnings {
		fmt.Fprintf(env.Stdout, "  %s %s\n", env.paint(yellow, "note:"), warning)
	}
	for _, c := range opened.Manifest().Cuts {
		fmt.Fprintf(env.Stdout, "  cut: session %s begins where %s\n", short(c.Session), c.Reason)
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
