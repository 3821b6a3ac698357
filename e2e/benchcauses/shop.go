package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"tapedeck/capture"
	"tapedeck/capture/spool"
	"tapedeck/cli/demo"
	"tapedeck/events"
	"tapedeck/internal/service"
)

// shop is the demo's shop with one capture a service.
type shop struct {
	products, customers int
	ignoreTraces        bool
	start               func(context.Context, demo.Config) (stop func() error, err error)
	address             map[string]string // of every listener
}

// recorded is an exchange with its row of the index, as the tape has them.
type recorded struct {
	events.Row
	*events.Exchange
}

var hosts = map[string]string{"orders": "orders.shop", "catalog": "catalog.shop", "payments": "payments.example"}

// dependencies are what each service calls; those that are not ours have no capture.
var dependencies = map[string][]string{"gateway": {"orders", "catalog"}, "orders": {"catalog", "payments"}, "catalog": nil}

func config(name, listen string) demo.Config {
	return demo.Config{Name: name, Listen: listen, Orders: "http://orders.shop", Catalog: "http://catalog.shop",
		Payments: "http://payments.example", Connect: map[string]string{}}
}

// record runs the shop and its captures while drive is at the gateway, and
// returns what their tapes hold.
func (s *shop) record(ctx context.Context, drive func(ctx context.Context, base string) error) (rows []recorded, err error) {
	folder, err := os.MkdirTemp("", "tapedeck-causes-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	if err := s.addresses(); err != nil {
		return nil, err
	}
	end, err := s.open(ctx)
	defer func() { err = errors.Join(err, end()) }()
	if err != nil {
		return nil, err
	}
	captured, err := s.capture(ctx, folder, drive)
	if err != nil {
		return nil, err
	}
	for _, name := range captured {
		some, err := read(filepath.Join(folder, name, "spool"))
		if err != nil {
			return nil, err
		}
		rows = append(rows, some...)
	}
	return rows, nil
}

// addresses chooses free ports: app.X is the service, in.X capture before it,
// out.X.Y capture between X and Y.
func (s *shop) addresses() error {
	s.address = map[string]string{}
	names := []string{"app.payments"}
	for name, needs := range dependencies {
		names = append(names, "app."+name, "in."+name)
		for _, d := range needs {
			names = append(names, "out."+name+"."+d)
		}
	}
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		s.address[name] = l.Addr().String()
	}
	s.address["in.payments"] = s.address["app.payments"]
	return nil
}

// open starts the services.
func (s *shop) open(ctx context.Context) (end func() error, err error) {
	var stops []func() error
	end = func() (err error) {
		for _, stop := range stops {
			err = errors.Join(err, stop())
		}
		return err
	}
	for _, name := range []string{"payments", "catalog", "orders", "gateway"} {
		c := config(name, s.address["app."+name])
		c.Products, c.Customers = s.products, s.customers
		for _, d := range dependencies[name] {
			c.Connect[hosts[d]] = s.address["out."+name+"."+d]
		}
		stop, err := s.start(ctx, c)
		if err != nil {
			return end, err
		}
		stops = append(stops, stop)
		if err := answering(ctx, c.Listen); err != nil {
			return end, err
		}
	}
	return end, nil
}

func answering(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, waitPatience)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		if !service.Sleep(ctx, 10*time.Millisecond) {
			return fmt.Errorf("nothing listens on %s: %w", address, err)
		}
	}
}

// capture records until drive is done. There is no broker: the tapes stay in
// the spools.
func (s *shop) capture(ctx context.Context, folder string, drive func(context.Context, string) error) (names []string, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	group, running := errgroup.WithContext(ctx)
	for name, needs := range dependencies {
		c := capture.Config{Service: name, Namespace: "shop", Inbound: []string{s.address["in."+name] + "=" + s.address["app."+name]},
			OnPressure: "block", SpoolSize: math.MaxInt64, IgnoreTraces: s.ignoreTraces}
		for _, d := range needs {
			c.Outbound = append(c.Outbound, s.address["out."+name+"."+d]+"="+s.address["in."+d])
		}
		capturing, err := capture.New(c, capture.Deps{Data: filepath.Join(folder, name), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, err
		}
		names = append(names, name)
		group.Go(func() error { return capturing.Run(running) })
	}
	driven := drive(running, "http://"+s.address["in.gateway"])
	stop()
	return names, errors.Join(driven, group.Wait())
}

// read reads every exchange of the tapes in a folder.
func read(folder string) ([]recorded, error) {
	tapes, err := spool.Open(folder, 0)
	if err != nil {
		return nil, err
	}
	var rows []recorded
	for _, id := range tapes.Oldest(math.MaxInt32) {
		t, err := tapes.Get(id)
		if err != nil {
			return nil, err
		}
		for _, e := range t.Index.Entries {
			row := t.Front.Row(e)
			record, err := t.Record(e.Block, e.Position)
			if err != nil {
				return nil, err
			}
			if !row.Open {
				rows = append(rows, recorded{row, record.GetExchange()})
			}
		}
	}
	return rows, nil
}
