package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"tapedeck/events"
	"tapedeck/internal/service"
)

// adminDLQ looks after the dead letters: messages that could never be handled.
type adminDLQ struct {
	List    dlqList    `cmd:"" default:"withargs" help:"List the dead letters, oldest first."`
	Show    dlqShow    `cmd:"" help:"Print one, with its headers."`
	Requeue dlqRequeue `cmd:"" help:"Publish dead letters again where they came from, and take them off the list: after an upgrade or a repair."`
	Drop    dlqDrop    `cmd:"" help:"Take dead letters off the list."`
}

// letter is a dead letter.
type letter struct {
	Number  uint64      `json:"number"` // in the stream DLQ
	At      time.Time   `json:"at"`
	Subject string      `json:"subject,omitempty"` // where it was published; empty: one exchange of a tape
	Worker  string      `json:"worker"`
	Reason  string      `json:"reason"`
	Size    int         `json:"bytes"`
	Header  nats.Header `json:"-"`
	data    []byte
}

// letters opens the stream of dead letters.
func letters(ctx context.Context, f *service.Flags, env *Env) (*nats.Conn, jetstream.JetStream, jetstream.Stream, error) {
	if f.NATS == "" {
		return nil, nil, nil, needNATS("admin dlq")
	}
	conn, js, err := service.Connect(f.NATS, "admin", f.Logger(env.Stderr))
	if err != nil {
		return nil, nil, nil, err
	}
	stream, err := js.Stream(ctx, events.StreamDead)
	if err != nil {
		conn.Close()
		return nil, nil, nil, service.Hint(fmt.Errorf("open %s: %w", events.StreamDead, err), "make it: tapedeck admin setup")
	}
	return conn, js, stream, nil
}

// each reads the dead letters that there were when the stream was opened, what
// is published again may come back, without a consumer: nobody has to be
// allowed one.
func each(ctx context.Context, stream jetstream.Stream) iter.Seq2[*letter, error] {
	return func(yield func(*letter, error) bool) {
		last := stream.CachedInfo().State.LastSeq
		for n := uint64(1); n <= last; {
			raw, err := stream.GetMsg(ctx, n, jetstream.WithGetMsgSubject(events.DeadLetters))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("read dead letters: %w", err))
				return
			}
			if raw.Sequence > last || !yield(letterOf(raw), nil) {
				return
			}
			n = raw.Sequence + 1
		}
	}
}

func letterOf(raw *jetstream.RawStreamMsg) *letter {
	return &letter{
		Number: raw.Sequence, At: raw.Time, Subject: raw.Header.Get(events.DeadSubjectHeader), Worker: raw.Header.Get(events.DeadWorkerHeader),
		Reason: raw.Header.Get(events.DeadReasonHeader), Size: len(raw.Data), Header: raw.Header, data: raw.Data,
	}
}

type dlqList struct {
	service.Flags
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

func (c *dlqList) Run(ctx context.Context, env *Env) error {
	conn, _, stream, err := letters(ctx, &c.Flags, env)
	if err != nil {
		return err
	}
	defer conn.Close()
	t := table{head: []string{"NUMBER", "TIME", "WORKER", "BYTES", "SUBJECT", "REASON"}}
	for l, err := range each(ctx, stream) {
		if err != nil {
			return err
		}
		if c.Output == "json" {
			if err := printJSON(env.Stdout, l); err != nil {
				return err
			}
			continue
		}
		t.add(cell{text: fmt.Sprint(l.Number), right: true}, cell{text: l.At.Local().Format(time.DateTime)}, cell{text: l.Worker},
			cell{text: fmt.Sprint(l.Size), right: true}, cell{text: l.Subject}, cell{text: l.Reason})
	}
	switch {
	case c.Output == "json":
	case len(t.rows) == 0:
		fmt.Fprintln(env.Stdout, "no dead letters")
	default:
		t.print(env)
	}
	return nil
}

type dlqShow struct {
	service.Flags
	Number uint64 `arg:"" help:"Number of the letter, as list prints it."`
}

// Run prints headers to stderr and what was published to stdout, so that it can
// go into a file as it is.
func (c *dlqShow) Run(ctx context.Context, env *Env) error {
	conn, _, stream, err := letters(ctx, &c.Flags, env)
	if err != nil {
		return err
	}
	defer conn.Close()
	l, err := oneLetter(ctx, stream, c.Number)
	if err != nil {
		return err
	}
	for name, values := range l.Header {
		for _, v := range values {
			fmt.Fprintf(env.Stderr, "%s: %s\n", env.paint(faint, name), v)
		}
	}
	_, err = env.Stdout.Write(l.data)
	return err
}

func oneLetter(ctx context.Context, stream jetstream.Stream, number uint64) (*letter, error) {
	raw, err := stream.GetMsg(ctx, number)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, service.Hint(fmt.Errorf("there is no dead letter %d", number), "tapedeck admin dlq list shows their numbers")
	}
	if err != nil {
		return nil, fmt.Errorf("read dead letter %d: %w", number, err)
	}
	return letterOf(raw), nil
}

// chosen are the letters that a command is about.
type chosen struct {
	Numbers []uint64 `arg:"" optional:"" name:"number" help:"Numbers of the letters, as list prints them."`
	All     bool     `help:"All of them."`
}

func (c *chosen) each(ctx context.Context, stream jetstream.Stream, do func(*letter) error) (done int, err error) {
	if c.All == (len(c.Numbers) > 0) {
		return 0, exit(2, errors.New("name the numbers of dead letters, or --all"))
	}
	step := func(l *letter) error {
		if err := do(l); err != nil {
			return err
		}
		done++
		return nil
	}
	for _, n := range c.Numbers {
		l, err := oneLetter(ctx, stream, n)
		if err == nil {
			err = step(l)
		}
		if err != nil {
			return done, err
		}
	}
	if !c.All {
		return done, nil
	}
	for l, err := range each(ctx, stream) {
		if err == nil {
			err = step(l)
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

type dlqRequeue struct {
	service.Flags
	chosen
}

// Run publishes each letter before it is deleted. Both may happen twice: the
// message keeps the event's id, by which workers know what they have done.
func (c *dlqRequeue) Run(ctx context.Context, env *Env) error {
	conn, js, stream, err := letters(ctx, &c.Flags, env)
	if err != nil {
		return err
	}
	defer conn.Close()
	left := 0
	done, err := c.each(ctx, stream, func(l *letter) error {
		if l.Subject == "" {
			left++
			fmt.Fprintf(env.Stderr, "%d stays: one exchange that the database can't hold; its tape is in the archive\n", l.Number)
			return nil
		}
		return requeue(ctx, js, stream, l)
	})
	fmt.Fprintf(env.Stdout, "published again: %s\n", plural(done-left, "message"))
	return err
}

func requeue(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, l *letter) error {
	msg := &nats.Msg{Subject: l.Subject, Header: nats.Header{}, Data: l.data}
	for k, v := range l.Header {
		if !strings.HasPrefix(k, "Nats-") && k != events.DeadReasonHeader && k != events.DeadSubjectHeader && k != events.DeadWorkerHeader {
			msg.Header[k] = v
		}
	}
	id := fmt.Sprintf("requeue.%d.%d", l.Number, l.At.UnixNano())
	if _, err := js.PublishMsg(ctx, msg, jetstream.WithMsgID(id)); err != nil {
		return fmt.Errorf("publish dead letter %d on %s: %w", l.Number, l.Subject, err)
	}
	return deleteLetter(ctx, stream, l)
}

func deleteLetter(ctx context.Context, stream jetstream.Stream, l *letter) error {
	if err := stream.DeleteMsg(ctx, l.Number); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("delete dead letter %d: %w", l.Number, err)
	}
	return nil
}

type dlqDrop struct {
	service.Flags
	chosen
}

func (c *dlqDrop) Run(ctx context.Context, env *Env) error {
	conn, _, stream, err := letters(ctx, &c.Flags, env)
	if err != nil {
		return err
	}
	defer conn.Close()
	done, err := c.each(ctx, stream, func(l *letter) error { return deleteLetter(ctx, stream, l) })
	fmt.Fprintf(env.Stdout, "dropped: %s\n", plural(done, "message"))
	return err
}
