package cli

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tapedeck/capture"
	"tapedeck/cli/demo"
	"tapedeck/events"
	"tapedeck/internal/service"
)

// record runs the shop's processes behind captures and sends customers in.
func (d *demonstration) record(ctx context.Context) error {
	flags := service.Flags{Data: d.Data, Database: d.Database, Log: d.Log}
	s, err := openStack(ctx, flags, "", quiet(flags, d.env))
	if err != nil {
		return err
	}
	defer s.close()
	r, err := s.startRecorder(ctx, d.captures())
	if err != nil {
		return err
	}
	visited := d.visit(ctx)
	rows, err := r.finish()
	if err := errors.Join(visited, err); err != nil {
		return err
	}
	if err := r.remember(rows, nil); err != nil {
		return err
	}
	for _, row := range rows {
		if row.Service == "gateway" && row.Direction == events.Direction_INBOUND && row.Path == "/orders" {
			d.order = row.ID.String()
		}
	}
	d.say("recorded %s of %s in %s", plural(len(rows), "exchange"), strings.Join(r.services(), ", "), d.Data)
	return nil
}

// visit starts the shop, lets customers in, and ends it.
func (d *demonstration) visit(ctx context.Context) error {
	for _, name := range []string{"payments", "catalog", "orders", "gateway"} {
		p, err := startProgram(append([]string{d.exe, "demo", "shop", name, "--listen", d.address["app."+name]}, d.connections(name)...), nil, d.env)
		if err != nil {
			return err
		}
		defer p.stop(syscall.SIGTERM, recordGrace)
		if err := waitPort(ctx, d.address["app."+name], p); err != nil {
			return err
		}
		d.say("%-8s listens at %s", name, d.address["app."+name])
	}
	sent, err := demo.Drive(ctx, "http://"+d.address["in.gateway"], d.Rounds)
	if err != nil {
		return err
	}
	d.say("three customers sent %s: log-ins, carts, orders, a wrong password, a declined card", plural(sent, "request"))
	return nil
}

// captures are one capture a service, as each has its own in a cluster.
func (d *demonstration) captures() []capture.Config {
	config := func(name string, outbound ...string) capture.Config {
		c := capture.Config{Service: name, Namespace: "shop", Version: "1.0",
			Inbound: []string{d.address["in."+name] + "=" + d.address["app."+name]},
			MaxBody: 1 << 20,
			TapeAge: 500 * time.Millisecond,
			Spool:   filepath.Join(d.Data, "spool", name),
			// The shop checks passwords and a replay sends what was recorded: with
			// full redaction its log-ins would fail.
			Redact:   "headers",
			Outbound: outbound}
		return c
	}
	return []capture.Config{
		config("gateway", d.address["out.gateway.orders"]+"="+d.address["in.orders"], d.address["out.gateway.catalog"]+"="+d.address["in.catalog"]),
		config("orders", d.address["out.orders.catalog"]+"="+d.address["in.catalog"], d.address["out.orders.payments"]+"="+d.address["app.payments"]),
		config("catalog"),
	}
}

// connections tell a service where its dependencies are: at its capture.
func (d *demonstration) connections(name string) []string {
	hosts := map[string]string{"orders": "orders.shop", "catalog": "catalog.shop", "payments": "payments.example"}
	var args []string
	for dependency, host := range hosts {
		if address, ok := d.address["out."+name+"."+dependency]; ok {
			args = append(args, "--connect", host+"="+address)
		}
	}
	return args
}
