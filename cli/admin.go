package cli

import (
	"context"
	"errors"
	"fmt"

	"tapedeck/events"
	"tapedeck/indexer/traffic"
	"tapedeck/internal/service"
)

type adminCommand struct {
	Setup   adminSetup   `cmd:"" help:"Make the streams, durable consumers and buckets that are missing on --nats, and tables and roles in --database."`
	Audit   adminAudit   `cmd:"" help:"Reconcile what each source recorded with index and archive; exit 1 if anything is unaccounted for."`
	Reindex adminReindex `cmd:"" help:"Index archived tapes that the index does not have: after a lost database, or one that came later."`
	DLQ     adminDLQ     `cmd:"" name:"dlq" help:"Dead letters: list, show, requeue or drop what could never be handled."`
	Doctor  adminDoctor  `cmd:"" help:"Look at NATS, the database and the archive, and say what to do."`
	CA      adminCA      `cmd:"" name:"ca" help:"Print the certificate that programs must trust where capture opens their TLS; made at first use."`
}

type adminSetup struct {
	service.Flags
	MaxBytes int64 `name:"max-bytes" help:"Bound of the stream CAPTURED in bytes: 6 hours of traffic. Default 8 GiB."`
	Replicas int   `name:"replicas" help:"Replicas of each stream: Default 1 on one server, 3 in a cluster."`
}

func (c *adminSetup) Run(ctx context.Context, env *Env) error {
	if c.NATS == "" && c.Database == "" {
		return needNATS("admin setup")
	}
	made := 0
	tell := func(what string) {
		made++
		fmt.Fprintln(env.Stdout, "made", what)
	}
	if c.Database != "" {
		if err := c.setupDatabase(ctx, env, tell); err != nil {
			return err
		}
	}
	if c.NATS != "" {
		if err := c.setupStreams(ctx, env, tell); err != nil {
			return err
		}
	}
	if made == 0 {
		fmt.Fprintln(env.Stdout, "nothing to do: everything is there")
	}
	switch {
	case c.Database == "":
		fmt.Fprintln(env.Stdout, "without an index: run it again with --database before the first indexer starts")
	case c.NATS == "":
		fmt.Fprintln(env.Stdout, "the database alone: streams and consumers need --nats")
	}
	return nil
}

func (c *adminSetup) setupStreams(ctx context.Context, env *Env, tell func(string)) error {
	conn, js, err := service.Connect(c.NATS, "admin", c.Logger(env.Stderr))
	if err != nil {
		return err
	}
	defer conn.Close()
	made, err := events.Setup(ctx, js, events.SetupOptions{Database: c.Database != "", MaxBytes: c.MaxBytes, Replicas: c.Replicas})
	for _, change := range made {
		tell(change)
	}
	if errors.Is(err, events.ErrDiffers) {
		return service.Hint(err, "nothing that exists was changed: change it with the nats CLI, or delete it when it is empty")
	}
	return service.Hint(err, "JetStream must be on (nats-server -js) and this user allowed to make streams")
}

// setupDatabase makes tables and roles. One user for everything works as well,
// so it is no failure that roles can't be made.
func (c *adminSetup) setupDatabase(ctx context.Context, env *Env, tell func(string)) error {
	store, err := traffic.Open(ctx, c.Database)
	if err != nil {
		return service.Hint(err, "is the database running, and --database right? Without Docker: deploy/local/timescale.sh start DIR")
	}
	defer store.Close()
	applied, err := store.Migrate(ctx)
	for _, name := range applied {
		tell("tables, migration " + name)
	}
	if err != nil {
		return err
	}
	roles, err := store.SetRoles(ctx)
	for _, role := range roles {
		tell("role " + role)
	}
	if errors.Is(err, traffic.ErrRoles) {
		fmt.Fprintf(env.Stderr, "without roles: %s\n  indexers and readers then share this user; or run it as one with CREATEROLE that owns the tables\n", oneLine(err.Error()))
		return nil
	}
	return err
}

func needDatabase(command string) error {
	err := fmt.Errorf("%s: needs a database", command)
	return exit(2, service.Hint(err, "name it with --database DSN or TAPEDECK_DATABASE; without Docker: deploy/local/timescale.sh start DIR"))
}

func needNATS(command string) error {
	err := fmt.Errorf("%s: needs a NATS server", command)
	return exit(2, service.Hint(err, "name it with --nats URL or TAPEDECK_NATS"))
}
