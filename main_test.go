package main

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"tapedeck/cli/demo"
	"tapedeck/events"
	"tapedeck/internal/broker"
	"tapedeck/internal/pgtest"
	"tapedeck/internal/tool"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tapedeck": main})
}

// TestScripts runs cli/testdata through the real main: each tapedeck in a
// script is a process of its own.
func TestScripts(t *testing.T) { testscript.Run(t, params(t, "cli/testdata")) }

// TestScriptsWithDatabase runs those that need an index; each has an empty one
// in $DSN.
func TestScriptsWithDatabase(t *testing.T) {
	p := params(t, "cli/testdata/database")
	clean := p.Setup
	p.Setup = func(e *testscript.Env) error {
		e.Setenv("DSN", pgtest.New(t))
		return clean(e)
	}
	// The databases are dropped when this test ends, so its scripts run within it.
	t.Run("scripts", func(t *testing.T) { testscript.Run(t, p) })
}

func params(t *testing.T, dir string) testscript.Params {
	natsCLI := filepath.Dir(tool.NATS.Require(t))
	return testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("PATH", e.Getenv("PATH")+string(os.PathListSeparator)+natsCLI)
			formats, err := filepath.Abs("cli/formats/testdata")
			if err != nil {
				return err
			}
			e.Setenv("FORMATS", formats)
			for _, v := range e.Vars {
				if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "TAPEDECK_") {
					e.Setenv(name, "")
				}
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":     code,
			"cut-tape": cutTape,
			"drive":    drive,
			"last-id":  lastID,
			"natsd":    natsd,
			"occupy":   occupy,
			"ports":    ports,
			"result":   result,
			"sql":      sql,
			"steps":    steps,
			"until":    until,
			"waitport": waitport,
		},
	}
}

// ports NAME…: sets each variable to a free address on loopback.
func ports(ts *testscript.TestScript, _ bool, names []string) {
	var listeners []net.Listener
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		listeners = append(listeners, l)
		ts.Setenv(name, l.Addr().String())
	}
	for _, l := range listeners {
		ts.Check(l.Close())
	}
}

// natsd NAME: starts a NATS server without streams; NAME is its URL.
func natsd(ts *testscript.TestScript, _ bool, args []string) {
	b, err := broker.Start(broker.Config{Dir: filepath.Join(ts.Getenv("WORK"), "natsd"), Listen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	ts.Check(err)
	ts.Defer(b.Close)
	ts.Setenv(args[0], b.URL())
}

// occupy NAME: listens on a port; NAME is its address.
func occupy(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { l.Close() })
	ts.Setenv(args[0], l.Addr().String())
}

// waitport ADDRESS…: waits until something listens there.
func waitport(ts *testscript.TestScript, _ bool, addresses []string) {
	for _, address := range addresses {
		poll(ts, "nothing listens at "+address, func() bool {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				return false
			}
			return conn.Close() == nil
		})
	}
}

// drive URL ROUNDS: customers visit the shop there.
func drive(ts *testscript.TestScript, _ bool, args []string) {
	rounds, err := strconv.Atoi(args[1])
	ts.Check(err)
	_, err = demo.Drive(context.Background(), args[0], rounds)
	ts.Check(err)
}

// until TEXT COMMAND…: runs a command again and again until it prints TEXT.
func until(ts *testscript.TestScript, _ bool, args []string) {
	poll(ts, strings.Join(args[1:], " ")+" never printed "+args[0], func() bool {
		return ts.Exec(args[1], args[2:]...) == nil && strings.Contains(ts.ReadFile("stdout"), args[0])
	})
}

// sql STATEMENTS: runs them in the script's database.
func sql(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(pgtest.Exec(context.Background(), ts.Getenv("DSN"), args[0]))
}

// steps N: runs the N next steps that the demo printed, each as a shell does.
func steps(ts *testscript.TestScript, _ bool, args []string) {
	_, next, _ := strings.Cut(ts.ReadFile("stdout"), "Next steps\n")
	run := 0
	for line := range strings.Lines(next) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "tapedeck ") {
			continue
		}
		run++
		if err := ts.Exec("sh", "-c", line); err != nil {
			ts.Fatalf("step %s: %v", line, err)
		}
	}
	if strconv.Itoa(run) != args[0] {
		ts.Fatalf("%d next steps, want %s", run, args[0])
	}
}

// result ADDRESS ID VERDICT: waits for the result of a replay.
func result(ts *testscript.TestScript, _ bool, args []string) {
	conn, err := nats.Connect("nats://" + args[0])
	ts.Check(err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	ts.Check(err)
	stream, err := js.Stream(context.Background(), events.StreamResults)
	ts.Check(err)
	var got events.ReplayResult
	poll(ts, "no result of replay "+args[1], func() bool {
		msg, err := stream.GetLastMsgForSubject(context.Background(), events.ReplayResultSubject(args[1]))
		return err == nil && json.Unmarshal(msg.Data, &got) == nil
	})
	if string(got.Verdict) != args[2] {
		ts.Fatalf("verdict %s (%s), want %s", got.Verdict, got.Reason, args[2])
	}
}

// last-id NAME: the id in the last row of the list that was printed.
func lastID(ts *testscript.TestScript, _ bool, args []string) {
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
	fields := strings.Fields(lines[len(lines)-1])
	if len(fields) < 2 {
		ts.Fatalf("no row was printed")
	}
	ts.Setenv(args[0], fields[1])
}

// cut-tape FOLDER: cuts the end off one tape.
func cutTape(ts *testscript.TestScript, _ bool, args []string) {
	cut := errors.New("cut")
	err := filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".tape" {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return errors.Join(cut, os.Truncate(path, info.Size()/3))
	})
	if !errors.Is(err, cut) {
		ts.Fatalf("no tape in %s: %v", args[0], err)
	}
}

// poll waits until ok says so.
func poll(ts *testscript.TestScript, otherwise string, ok func() bool) {
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			ts.Fatalf("%s", otherwise)
		}
	}
}

// code N COMMAND…: runs a command that must end with exit code N.
func code(ts *testscript.TestScript, _ bool, args []string) {
	want := args[0]
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != want {
		ts.Fatalf("%s: exit code %s, want %s", strings.Join(args[1:], " "), got, want)
	}
}
