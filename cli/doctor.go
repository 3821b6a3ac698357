package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/archiver/tapes"
	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

type adminDoctor struct {
	service.Flags
	Monitor string `placeholder:"URL" help:"Monitoring port of the NATS server. Default: port 8222 of its host."`
}

// finding is one thing that was looked at.
type finding struct {
	what string
	good string // what is well about it
	err  error  // or what is wrong
	warn bool   // wrong, but it works
}

// Run looks at everything even when something is wrong; it fails when
// something does not work.
func (c *adminDoctor) Run(ctx context.Context, env *Env) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	found := c.checkNATS(ctx, env)
	found = append(found, c.checkDatabase(ctx), c.checkArchive(ctx))
	wrong := 0
	for _, f := range found {
		switch {
		case f.err == nil:
			fmt.Fprintf(env.Stdout, "%s  %-10s %s\n", env.paint(green, "ok  "), f.what, f.good)
		default:
			word, color := "FAIL", red
			if f.warn {
				word, color = "warn", yellow
			} else {
				wrong++
			}
			fmt.Fprintf(env.Stdout, "%s  %-10s %s\n", env.paint(color, word), f.what, oneLine(f.err.Error()))
			if hint := service.HintOf(f.err); hint != "" {
				fmt.Fprintf(env.Stdout, "      %-10s → %s\n", "", hint)
			}
		}
	}
	if wrong > 0 {
		return fmt.Errorf("doctor: %d of %d do not work", wrong, len(found))
	}
	return nil
}

func (c *adminDoctor) checkNATS(ctx context.Context, env *Env) []finding {
	if c.NATS == "" {
		return []finding{{what: "nats", good: "none named: commands run on an embedded one in " + c.Data}}
	}
	conn, js, err := service.Connect(c.NATS, "doctor", c.Logger(env.Stderr))
	if err != nil {
		return []finding{{what: "nats", err: err}}
	}
	defer conn.Close()
	account, err := js.AccountInfo(ctx)
	if err != nil {
		err = service.Hint(fmt.Errorf("JetStream does not answer: %w", err), "start the server with JetStream: nats-server -js -sd DIR")
		return []finding{{what: "nats", err: err}}
	}
	found := []finding{{what: "nats", good: fmt.Sprintf("%s %s, %s in JetStream", conn.ConnectedUrlRedacted(), conn.ConnectedServerVersion(), shortBytes(int64(account.Store)))}}
	found = append(found, c.checkSync(ctx, conn))
	return append(found, c.checkStreams(ctx, js)...)
}

// checkSync asks the monitoring port for the server's sync setting: clients
// are not told.
func (c *adminDoctor) checkSync(ctx context.Context, conn *nats.Conn) finding {
	f := finding{what: "sync", good: "sync_interval: always"}
	monitor := c.Monitor
	if monitor == "" {
		server, err := url.Parse(conn.ConnectedUrl())
		if err != nil {
			return finding{what: "sync", err: err}
		}
		monitor = "http://" + net.JoinHostPort(server.Hostname(), "8222")
	}
	switch always, err := syncAlways(ctx, monitor); {
	case err != nil:
		f.warn = true
		f.err = service.Hint(fmt.Errorf("can't see whether the server syncs each message: %w", err),
			"name its monitoring port with --monitor http://HOST:8222, or look for jetstream { sync_interval: always } in its configuration")
	case !always:
		f.err = service.Hint(errors.New("sync_interval is not always: a power cut loses messages that were acked"),
			"set jetstream { sync_interval: always } in the server's configuration and restart it")
	}
	return f
}

// checkStreams compares the broker with the table in events.
func (c *adminDoctor) checkStreams(ctx context.Context, js jetstream.JetStream) []finding {
	var found []finding
	for _, name := range events.Streams() {
		found = append(found, c.checkStream(ctx, js, name))
	}
	return found
}

func (c *adminDoctor) checkStream(ctx context.Context, js jetstream.JetStream, name string) finding {
	f := finding{what: name}
	stream, err := js.Stream(ctx, name)
	if err != nil {
		f.err = service.Hint(err, "make it: tapedeck admin setup")
		return f
	}
	state := stream.CachedInfo().State
	f.good = fmt.Sprintf("%s, %s", plural(int(state.Msgs), "message"), shortBytes(int64(state.Bytes)))
	for _, durable := range events.Durables(name, c.Database != "") {
		consumer, err := stream.Consumer(ctx, durable)
		if err != nil {
			f.err = service.Hint(fmt.Errorf("consumer %s: %w", durable, err), "make it: tapedeck admin setup (with --database when there is an index)")
			return f
		}
		info := consumer.CachedInfo()
		f.good += fmt.Sprintf("; %s: %d waiting, %d in work", durable, info.NumPending, info.NumAckPending)
	}
	if name == events.StreamDead && state.Msgs > 0 {
		f.warn, f.err = true, service.Hint(fmt.Errorf("%s could never be handled", plural(int(state.Msgs), "message")), "look at them: tapedeck admin dlq list")
	}
	return f
}

func (c *adminDoctor) checkDatabase(ctx context.Context) finding {
	f := finding{what: "database", good: "none named: traffic is read from the archive"}
	if c.Database == "" {
		return f
	}
	reader, err := traffic.OpenReader(ctx, c.Database)
	if err != nil {
		f.err = service.Hint(err, "is the database running, and the address right? Without Docker: deploy/local/timescale.sh start DIR")
		return f
	}
	defer reader.Close()
	f.good = "answers"
	return f
}

func (c *adminDoctor) checkArchive(ctx context.Context) finding {
	f := finding{what: "archive", good: c.ArchiveURL()}
	if _, err := os.Stat(c.ArchiveURL()); c.Archive == "" && err != nil {
		f.good += " (made by the first recording)"
		return f
	}
	archive, err := tapes.Open(ctx, c.ArchiveURL())
	if err == nil {
		err = archive.CheckWritable(ctx)
	}
	if err == nil {
		_, err = archive.Folders(ctx, "")
	}
	f.err = service.Hint(err, "does it exist, and may this user write there? --archive s3://bucket/prefix?endpoint=… or file:///dir; S3 credentials come from AWS_*")
	return f
}

// syncAlways reads the server's setting from its monitoring port.
func syncAlways(ctx context.Context, monitor string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(monitor, "/")+"/jsz?config=true", nil)
	if err != nil {
		return false, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	var jsz struct {
		Config struct {
			SyncAlways bool `json:"sync_always"`
		} `json:"config"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&jsz); err != nil {
		return false, fmt.Errorf("%s is no monitoring port of a NATS server: %w", monitor, err)
	}
	return jsz.Config.SyncAlways, nil
}
