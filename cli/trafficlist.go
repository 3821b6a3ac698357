package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/wire/grpc"
)

type trafficList struct {
	trafficFlags
	Limit int `default:"50" help:"At most so many, the newest."`
}

func (c *trafficList) Run(ctx context.Context, env *Env) error {
	q, err := c.query(time.Now())
	if err != nil {
		return err
	}
	from, err := openSource(ctx, &c.Flags)
	if err != nil {
		return err
	}
	defer from.close()
	rows, err := from.rows(ctx, q, c.Limit)
	if err != nil {
		return err
	}
	switch {
	case c.Output == "json":
		err = printRowsJSON(env, rows)
	case len(rows) == 0:
		fmt.Fprintln(env.Stderr, "no exchanges found")
	default:
		printRows(env, rows)
	}
	return errors.Join(err, from.damage())
}

func printRowsJSON(env *Env, rows []events.Row) error {
	for i := range rows {
		if err := printJSON(env.Stdout, &rows[i]); err != nil {
			return err
		}
	}
	return nil
}

var rowHead = []string{"TIME", "ID", "SERVICE", "", "STATUS", "TOOK", "SIZE", "METHOD", "HOST", "PATH"}

func printRows(env *Env, rows []events.Row) {
	t := &table{head: rowHead}
	for i := range rows {
		t.add(rowCells(&rows[i])...)
	}
	t.print(env)
}

func rowCells(r *events.Row) []cell {
	arrow, host := "→", ""
	if r.Direction == events.Direction_OUTBOUND {
		arrow, host = "⇢", r.Host
	}
	return []cell{
		{text: clock(r.Time), color: faint}, {text: shortID(r.ID), color: cyan},
		{text: r.Service}, {text: arrow, color: faint},
		{text: statusText(r), color: classColor(r.Class)},
		{text: shortDuration(r.Duration), right: true}, {text: shortBytes(r.RequestBytes + r.ResponseBytes), right: true},
		{text: printable([]byte(r.Method))}, {text: printable([]byte(host))}, {text: printable([]byte(listedPath(r)))},
	}
}

// shortID is the end of an id, which is random; its beginning is the time.
func shortID(id events.ID) string {
	s := id.String()
	return s[len(s)-8:]
}

// listedPath is the path, and of GraphQL the operation: that is in the template.
func listedPath(r *events.Row) string {
	if _, operation, ok := strings.Cut(r.Template, " "); ok {
		return r.Path + " " + operation
	}
	return r.Path
}

type trafficShow struct {
	service.Flags `group:"Stores:"`
	ID            string `arg:"" help:"The exchange's id, or the end of it that the list prints."`
	Output        string `short:"o" enum:"text,json" default:"text" help:"text or json."`

	descriptorFlags `embed:""`
}

func (c *trafficShow) Run(ctx context.Context, env *Env) error {
	from, err := openSource(ctx, &c.Flags)
	if err != nil {
		return err
	}
	defer from.close()
	r, err := from.row(ctx, c.ID)
	if err != nil {
		return err
	}
	x, messages, err := from.shown(ctx, r)
	if err != nil {
		return err
	}
	if r.Protocol == grpc.Name {
		if messages, err = c.call(ctx, &r, x, messages); err != nil {
			return err
		}
	}
	of, err := from.relations(ctx, &r)
	switch {
	case err != nil:
		return err
	case c.Output == "json":
		shown := exchangeJSON(&r, x, messages)
		shown.Effects = of.effects
		return printJSON(env.Stdout, shown)
	case x == nil:
		printOpen(env, &r, of, messages)
	default:
		printExchange(env, &r, x, of, messages)
	}
	return nil
}

// call reads the messages of a gRPC call.
func (c *trafficShow) call(ctx context.Context, r *events.Row, x *events.Exchange, messages []*events.Message) ([]*events.Message, error) {
	d, err := c.descriptorFlags.open(ctx, c.Data)
	if err != nil {
		return nil, err
	}
	if x != nil && len(messages) == 0 {
		messages = grpc.Messages(x, nil)
	}
	messages = callMessages(d, r.Path, messages)
	if c.Output == "json" {
		return messages, nil
	}
	if len(messages) > 0 { // the bodies are their first ones
		for _, b := range []*events.Body{x.GetRequest().GetBody(), x.GetResponse().GetBody()} {
			if b != nil {
				b.Data = nil
			}
		}
	}
	return forPeople(messages), nil
}
