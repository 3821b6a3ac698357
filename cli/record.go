package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"tapedeck/capture"
	"tapedeck/capture/ca"
	"tapedeck/capture/spool"
	"tapedeck/events"
	"tapedeck/internal/service"
	"tapedeck/wire/tcp"
)

// recordGrace is how long CMD may take to end before it is killed.
const recordGrace = 10 * time.Second

type recordCommand struct {
	service.Flags  `group:"Stores:"`
	capture.Config `embed:"" group:"Capture:"`
}

// Run records until CMD ends or Ctrl-C.
func (c *recordCommand) Run(ctx context.Context, env *Env) error {
	if len(c.Inbound)+len(c.Outbound)+len(c.Transparent) == 0 {
		err := errors.New("record: nothing to listen on")
		return exit(2, service.Hint(err, "--inbound 8080=localhost:3000 records callers of a service on port 3000, --outbound 8081 is a proxy for its calls"))
	}
	if err := c.fill(env.Program != nil); err != nil {
		return err
	}
	if err := c.checkLoops(); err != nil {
		return err
	}
	s, err := openStack(ctx, c.Flags, "", quiet(c.Flags, env))
	if err != nil {
		return err
	}
	defer s.close()
	r, err := s.startRecorder(ctx, []capture.Config{c.Config})
	if err != nil {
		return err
	}
	code, runErr := r.runProgram(ctx, env, c)
	rows, err := r.finish()
	if err := errors.Join(runErr, err); err != nil {
		return err
	}
	if err := r.remember(rows, env.Program); err != nil {
		return err
	}
	r.report(env, rows)
	if code != 0 {
		fmt.Fprintf(env.Stderr, "\n%s ended with exit code %d\n", env.Program[0], code)
		return exit(code, nil)
	}
	return nil
}

// fill is what a recording on one machine means: bare ports listen on
// loopback, the service is called like the folder it is developed in, and the
// TLS of a program that we start is opened: it gets our certificate to trust.
func (c *recordCommand) fill(program bool) error {
	c.Host, c.RulesOrNothing = "127.0.0.1", true
	if c.OutboundTLS == "" && program && slices.ContainsFunc(c.Outbound, func(o string) bool { return !strings.Contains(o, "=") }) {
		c.OutboundTLS = "open"
	}
	if c.Service != "" {
		return nil
	}
	folder, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("record: name the service: %w", err)
	}
	if c.Service = filepath.Base(folder); c.Service == string(filepath.Separator) {
		c.Service = "app"
	}
	return nil
}

// checkLoops refuses a listener that would relay to itself: each connection
// would open the next until there are no more.
func (c *recordCommand) checkLoops() error {
	for _, flag := range slices.Concat(c.Inbound, c.Outbound) {
		listen, upstream, _ := strings.Cut(flag, "=")
		if upstream == "" || localAddress(listen) != localAddress(strings.Replace(upstream, "localhost:", "127.0.0.1:", 1)) {
			continue
		}
		err := fmt.Errorf("record: %s relays to itself", flag)
		return exit(2, service.Hint(err, "LISTEN is a free port for tapedeck, UPSTREAM is where the service listens, e.g. 8080=localhost:3000"))
	}
	return nil
}

// runProgram runs CMD behind capture, or waits for Ctrl-C without one.
func (r *recorder) runProgram(ctx context.Context, env *Env, c *recordCommand) (int, error) {
	recording := r.captures.Context() // ends with ctx, and when a capture fails
	fmt.Fprintf(env.Stderr, "recording %s: %s\n", strings.Join(r.services(), ", "), strings.Join(slices.Concat(c.Inbound, c.Outbound, c.Transparent), ", "))
	if env.Program == nil {
		if c.OutboundTLS == "open" {
			fmt.Fprintln(env.Stderr, "programs must trust", ca.CertificateFile(c.Data))
		}
		if err := r.remember(nil, nil); err != nil {
			return 0, err
		}
		fmt.Fprintln(env.Stderr, "Ctrl-C ends the recording")
		<-recording.Done()
		return 0, nil
	}
	variables, err := r.variables()
	if err != nil {
		return 0, err
	}
	p, err := startProgram(env.Program, variables, env)
	if err != nil {
		return 0, err
	}
	// --last means this recording from now on, even if it is killed.
	if err := r.remember(nil, env.Program); err != nil {
		p.stop(syscall.SIGTERM, recordGrace)
		return 0, err
	}
	return p.wait(recording, recordGrace), nil
}

// report says what was recorded, where it is, and what comes next.
func (r *recorder) report(env *Env, rows []events.Row) {
	w := env.Stdout
	if r.stack.embedded == nil {
		fmt.Fprintf(w, "recorded %s to %s\n", strings.Join(r.services(), ", "), r.stack.conn.ConnectedUrlRedacted())
		r.adviseSpool(env)
		return
	}
	took := max(r.to.Sub(r.from).Round(100*time.Millisecond), 100*time.Millisecond)
	fmt.Fprintf(w, "\nrecorded %s in %s\n", plural(len(rows), "exchange"), shortDuration(took))
	if len(rows) > 0 {
		fmt.Fprintln(w)
		printEndpoints(env, countEndpoints(rows))
	}
	if hosts := dependenciesOf(rows); len(hosts) > 0 {
		fmt.Fprintf(w, "\ndependencies: %s\n", strings.Join(hosts, ", "))
	}
	fmt.Fprintf(w, "archive: %s\n", r.stack.archive)
	r.advise(env, rows)
	if len(rows) > 0 {
		fmt.Fprintf(w, "\nnext:\n  %s\n  %s\n", nextOn(r.stack.Data, "traffic", "list", "--last"), nextOn(r.stack.Data, "scenario", "create", "NAME", "--last"))
	}
}

// opaqueHosts are the hosts that were called in a protocol that is not read.
func opaqueHosts(rows []events.Row) []string {
	return dependenciesOf(slices.DeleteFunc(slices.Clone(rows), func(r events.Row) bool { return r.Protocol != tcp.Name }))
}

// adviseSpool says what NATS did not take.
func (r *recorder) adviseSpool(env *Env) {
	waiting := 0
	for _, c := range r.configs {
		folder := c.Spool
		if folder == "" {
			folder = filepath.Join(r.stack.Data, "spool")
		}
		if kept, err := spool.Open(folder, 0); err == nil {
			waiting += kept.Tapes()
		}
	}
	if waiting > 0 {
		fmt.Fprintf(env.Stdout, "%s could not be sent and wait in --data: the next record with --nats and this folder sends them\n", plural(waiting, "tape"))
	}
}

// advise says why a direction is missing and what to try.
func (r *recorder) advise(env *Env, rows []events.Row) {
	var inbound, outbound bool
	for i := range rows {
		inbound = inbound || rows[i].Direction == events.Direction_INBOUND
		outbound = outbound || rows[i].Direction == events.Direction_OUTBOUND
	}
	w := env.Stdout
	if !inbound {
		fmt.Fprint(w, "\nNo inbound exchange: callers must use the LISTEN port of --inbound LISTEN=UPSTREAM, not the service's own.\n")
	}
	if opaque := opaqueHosts(rows); len(opaque) > 0 {
		fmt.Fprintf(w, "\nRecorded as connections only, because TLS is not opened: %s\n", strings.Join(opaque, ", "))
	}
	if outbound {
		return
	}
	fmt.Fprint(w, "\nNo outbound exchange: the service called nothing through us. Why that may be:\n")
	if r.proxy() == "" {
		fmt.Fprint(w, "  - there was no --outbound LISTEN to be its proxy\n")
	}
	fmt.Fprint(w, `  - proxy variables do nothing for localhost in Go, and Node's fetch reads them from version 24 on only
  - a program may read no proxy variables, or was not started by us (-- CMD)
  - calls by TLS are opened for a program behind "--" only, or with --outbound-tls open
Try it with each dependency by name, and point the service at LISTEN instead:
  --outbound 8081=payments.internal:80   and   PAYMENTS_URL=http://localhost:8081
`)
}
