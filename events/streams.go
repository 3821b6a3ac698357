package events

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Streams, key-value buckets and the names of durable consumers.
const (
	StreamCaptured  = "CAPTURED"
	StreamArchived  = "ARCHIVED"
	StreamIndexed   = "INDEXED"
	StreamCommands  = "COMMANDS"
	StreamScenarios = "SCENARIOS"
	StreamProgress  = "PROGRESS"
	StreamResults   = "RESULTS"
	StreamDead      = "DLQ"

	BucketJobs  = "JOBS"  // the truth about commands: one key a job, created once
	BucketRules = "RULES" // what captures share

	DurableArchiver      = "archiver"
	DurableIndexer       = "indexer"
	DurableScenariogen   = "scenariogen"
	DurableReplayer      = "replayer"
	DurableReplayerShard = "replayer-shard"
)

// AckWait is how long a worker may hold a message without a sign of life
// (InProgress, every third of it).
const AckWait = 60 * time.Second

// GiveUpAfter is the delivery at which a message goes to the dead letters;
// from AloneAfter on it is handled alone, so that it can spoil nothing else.
const (
	AloneAfter  = 3
	GiveUpAfter = 10
)

// durable is a consumer that the workers of one service share.
type durable struct {
	stream, name, filter string
	database             bool // exists only where there is an index
}

var durables = []durable{
	{StreamCaptured, DurableArchiver, "captured.>", false},
	{StreamCaptured, DurableIndexer, "captured.>", true},
	{StreamArchived, DurableIndexer, "archived.>", true},
	{StreamIndexed, DurableScenariogen, "indexed.>", true},
	{StreamCommands, DurableScenariogen, SubjectScenarioRequest, false},
	{StreamCommands, DurableReplayer, SubjectReplayRequest, false},
	{StreamCommands, DurableReplayerShard, "replay.shard.>", false},
	{StreamScenarios, DurableIndexer, "scenario.ready.>", true},
	{StreamResults, DurableIndexer, "replay.result.>", true},
}

// SetupOptions says how large the broker is.
type SetupOptions struct {
	// Database: there is an index, so its durables are made. Without one they
	// are not: interest would keep what nobody takes.
	Database bool
	// MaxBytes bounds CAPTURED; default 8 GiB. It should hold 6 h of the
	// slower sink; full means that captures spool.
	MaxBytes int64
	// Replicas of what is made; default 1 on one server and 3 in a cluster.
	Replicas int
}

// ErrDiffers is wrapped when something exists with other settings.
var ErrDiffers = errors.New("exists with other settings")

// streams are the settings measured and reasoned in docs/broker.md.
func streams(o SetupOptions) []jetstream.StreamConfig {
	const day = 24 * time.Hour
	if o.MaxBytes == 0 {
		o.MaxBytes = 8 << 30
	}
	configs := []jetstream.StreamConfig{
		{Name: StreamCaptured, Subjects: []string{"captured.>"}, Retention: jetstream.InterestPolicy,
			Discard: jetstream.DiscardNew, MaxBytes: o.MaxBytes,
			Description: "tapes on their way to the archive and the index; a tape leaves when both have it"},
		{Name: StreamArchived, Subjects: []string{"archived.>"}, Retention: jetstream.InterestPolicy,
			Description: "where tapes lie in the archive, for the index"},
		{Name: StreamIndexed, Subjects: []string{"indexed.>"}, MaxAge: time.Hour, MaxBytes: 256 << 20, Discard: jetstream.DiscardOld,
			Description: "hints that a tape is in the index"},
		{Name: StreamCommands, Subjects: []string{SubjectScenarioRequest, SubjectReplayRequest, "replay.shard.>"},
			Retention: jetstream.WorkQueuePolicy, MaxBytes: 256 << 20, Discard: jetstream.DiscardNew,
			Description: "requests; the truth about each is its key in JOBS"},
		{Name: StreamScenarios, Subjects: []string{"scenario.ready.>"}, MaxMsgsPerSubject: 1,
			Description: "the newest version of each scenario"},
		{Name: StreamProgress, Subjects: []string{"replay.control.>", "replay.mocked.>", "replay.progress.>"},
			MaxAge: time.Hour, MaxBytes: 256 << 20, Discard: jetstream.DiscardOld,
			Description: "replays under way; for eyes, results never depend on it alone"},
		{Name: StreamResults, Subjects: []string{"replay.result.>"}, MaxMsgsPerSubject: 1, MaxAge: 90 * day,
			Description: "the result of each replay"},
		{Name: StreamDead, Subjects: []string{DeadLetters}, MaxAge: 30 * day, MaxBytes: 1 << 30, Discard: jetstream.DiscardNew,
			Duplicates: day, Description: "messages that can never be handled, whole, with the reason"},
	}
	for i := range configs {
		configs[i].Storage = jetstream.FileStorage
		configs[i].Replicas = max(o.Replicas, 1)
		if configs[i].Duplicates == 0 {
			configs[i].Duplicates = 2 * time.Minute
		}
	}
	return configs
}

// Setup makes the streams, durables and buckets that are missing and returns
// what it made. It is idempotent and changes nothing that exists: a difference
// is an error wrapping ErrDiffers that names it.
//
// A stream that keeps messages by interest deletes what nobody waits for, so
// it is made with limits, gets its durables, and is switched last.
func Setup(ctx context.Context, js jetstream.JetStream, o SetupOptions) ([]string, error) {
	var made []string
	var differs []error
	wanted := o
	if o.Replicas == 0 {
		wanted.Replicas = defaultReplicas(js.Conn())
	}
	for _, want := range streams(wanted) {
		created, err := setupStream(ctx, js, want, o)
		if err != nil && !errors.Is(err, ErrDiffers) {
			return made, err
		}
		made = append(made, created...)
		differs = append(differs, err)
	}
	for _, bucket := range []jetstream.KeyValueConfig{
		{Bucket: BucketJobs, History: 1, TTL: 7 * 24 * time.Hour, Description: "one key a job: replay.<id>, shard.<id>.<n>, mock.<replay>.<dependency>"},
		{Bucket: BucketRules, History: 5, Description: "what captures share"},
	} {
		bucket.Storage, bucket.Replicas = jetstream.FileStorage, wanted.Replicas
		switch _, err := js.CreateKeyValue(ctx, bucket); {
		case errors.Is(err, jetstream.ErrBucketExists):
		case err != nil:
			return made, fmt.Errorf("create bucket %s: %w", bucket.Bucket, err)
		default:
			// An equal bucket is "created" again without an error, so this
			// says what stands, not what is new.
		}
	}
	return made, errors.Join(differs...)
}

// defaultReplicas is 3 behind a server that is one of several: a majority of
// them then goes on without any one.
func defaultReplicas(conn *nats.Conn) int {
	if conn.ConnectedClusterName() == "" {
		return 1
	}
	return 3
}

func setupStream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig, o SetupOptions) ([]string, error) {
	var made []string
	stream, err := js.Stream(ctx, want.Name)
	fresh := errors.Is(err, jetstream.ErrStreamNotFound)
	switch {
	case fresh:
		first := want
		first.Retention = jetstream.LimitsPolicy
		if want.Retention == jetstream.WorkQueuePolicy { // can't be switched to; loses nothing without consumers
			first.Retention = jetstream.WorkQueuePolicy
		}
		if stream, err = js.CreateStream(ctx, first); err != nil {
			return made, fmt.Errorf("create stream %s: %w", want.Name, err)
		}
		made = append(made, "stream "+want.Name)
	case err != nil:
		return made, fmt.Errorf("look up stream %s: %w", want.Name, err)
	}
	for _, d := range durables {
		if d.stream != want.Name || d.database && !o.Database {
			continue
		}
		created, err := setupDurable(ctx, stream, d)
		if err != nil {
			return made, err
		}
		made = append(made, created...)
	}
	got := stream.CachedInfo().Config
	if changed := finish(&got, want, o); changed {
		if _, err := js.UpdateStream(ctx, got); err != nil {
			return made, fmt.Errorf("finish stream %s: %w", want.Name, err)
		}
	}
	return made, streamDiffers(want, got, o)
}

// finish says what is still to be changed once the durables are there: the
// switch to interest, and the sinks that captures look for. A setup that died
// between the steps is finished by the next.
func finish(got *jetstream.StreamConfig, want jetstream.StreamConfig, o SetupOptions) (changed bool) {
	if got.Retention == jetstream.LimitsPolicy && want.Retention == jetstream.InterestPolicy {
		got.Retention, changed = jetstream.InterestPolicy, true
	}
	if want.Name != StreamCaptured {
		return changed
	}
	if sinks := strings.Join(Durables(StreamCaptured, o.Database), ","); len(sinks) > len(got.Metadata[sinksKey]) {
		got.Metadata, changed = maps.Clone(got.Metadata), true
		if got.Metadata == nil {
			got.Metadata = map[string]string{}
		}
		got.Metadata[sinksKey] = sinks
	}
	return changed
}

func setupDurable(ctx context.Context, stream jetstream.Stream, d durable) ([]string, error) {
	name := fmt.Sprintf("consumer %s/%s", d.stream, d.name)
	switch c, err := stream.Consumer(ctx, d.name); {
	case err == nil:
		if got := c.CachedInfo().Config.FilterSubject; got != d.filter {
			return nil, fmt.Errorf("%s: %w: filter %q, want %q", name, ErrDiffers, got, d.filter)
		}
		return nil, nil
	case !errors.Is(err, jetstream.ErrConsumerNotFound):
		return nil, fmt.Errorf("look up %s: %w", name, err)
	}
	_, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       d.name,
		FilterSubject: d.filter,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       AckWait,
		MaxDeliver:    -1, // we count ourselves: the server would keep the message and deliver it no more
		MaxAckPending: 4096,
		DeliverPolicy: jetstream.DeliverAllPolicy,
	})
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", name, err)
	}
	return []string{name}, nil
}

func streamDiffers(want, got jetstream.StreamConfig, o SetupOptions) error {
	var what []string
	check := func(field string, same bool, want, got any) {
		if !same {
			what = append(what, fmt.Sprintf("%s is %v, want %v", field, got, want))
		}
	}
	check("subjects", slices.Equal(want.Subjects, got.Subjects), want.Subjects, got.Subjects)
	check("retention", want.Retention == got.Retention, want.Retention, got.Retention)
	check("storage", want.Storage == got.Storage, want.Storage, got.Storage)
	check("discard", want.Discard == got.Discard, want.Discard, got.Discard)
	check("max age", want.MaxAge == got.MaxAge, want.MaxAge, got.MaxAge)
	check("messages per subject", max(want.MaxMsgsPerSubject, 0) == max(got.MaxMsgsPerSubject, 0), want.MaxMsgsPerSubject, got.MaxMsgsPerSubject)
	if o.MaxBytes != 0 {
		check("max bytes", want.MaxBytes == got.MaxBytes || want.Name != StreamCaptured, want.MaxBytes, got.MaxBytes)
	}
	if o.Replicas != 0 {
		check("replicas", want.Replicas == got.Replicas, want.Replicas, got.Replicas)
	}
	if what == nil {
		return nil
	}
	return fmt.Errorf("stream %s %w: %s", want.Name, ErrDiffers, strings.Join(what, ", "))
}

// Streams names the streams that Setup makes.
func Streams() []string {
	var names []string
	for _, c := range streams(SetupOptions{}) {
		names = append(names, c.Name)
	}
	return names
}

// Durables names the durables that a stream gets, with or without an index.
func Durables(stream string, database bool) []string {
	var names []string
	for _, d := range durables {
		if d.stream == stream && (database || !d.database) {
			names = append(names, d.name)
		}
	}
	return names
}

// sinksKey is the key in CAPTURED's metadata under which setup says which
// durables it gave the stream.
const sinksKey = "tapedeck-sinks"

// CheckSinks fails while one of the durables that setup gave CAPTURED is
// missing: interest would delete what the missing one has not seen, so
// captures spool meanwhile.
func CheckSinks(ctx context.Context, js jetstream.JetStream) error {
	stream, err := js.Stream(ctx, StreamCaptured)
	if err != nil {
		return fmt.Errorf("look up stream %s (made by `tapedeck admin setup`): %w", StreamCaptured, err)
	}
	sinks := stream.CachedInfo().Config.Metadata[sinksKey]
	if sinks == "" {
		return fmt.Errorf("stream %s was not made by `tapedeck admin setup`: nobody says who consumes it", StreamCaptured)
	}
	for name := range strings.SplitSeq(sinks, ",") {
		if _, err := stream.Consumer(ctx, name); err != nil {
			return fmt.Errorf("consumer %s/%s (made by `tapedeck admin setup`): %w", StreamCaptured, name, err)
		}
	}
	return nil
}
