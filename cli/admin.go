package cli

import (
	"context"
	"errors"
	"fmt"

	"tapedeck/events"
	"tapedeck/internal/service"
)

type adminCommand struct {
	Setup   adminSetup   `cmd:"" help:"Make the streams, durable consumers and buckets that are missing on --nats."`
	Audit   adminAudit   `cmd:"" help:"Reconcile what each source recorded with index and archive; exit 1 if anything is unaccounted for."`
	Reindex adminReindex `cmd:"" help:"Index archived tapes that the index does not have: after a lost database, or one that came later."`
	Doctor  adminDoctor  `cmd:"" help:"Look at NATS, the database and the archive, and say what to do."`
	CA      adminCA      `cmd:"" name:"ca" help:"Print the certificate that programs must trust where capture opens their TLS; made at first use."`
}

type adminSetup struct {
	service.Flags
	MaxBytes int64 `name:"max-bytes" help:"Bound of the stream CAPTURED in bytes: 6 hours of traffic. Default 8 GiB."`
	Replicas int   `name:"replicas" help:"Replicas of each stream: 1 on one server, 3 in a cluster. Default 1."`
}

func (c *adminSetup) Run(ctx context.Context, env *Env) error {
	if c.NATS == "" {
		return needNATS("admin setup")
	}
	conn, js, err := service.Connect(c.NATS, "admin", c.Logger(env.Stderr))
	if err != nil {
		return err
	}
	defer conn.Close()
	made, err := events.Setup(ctx, js, events.SetupOptions{Database: c.Database != "", MaxBytes: c.MaxBytes, Replicas: c.Replicas})
	for _, change := range made {
		fmt.Fprintln(env.Stdout, "made", change)
	}
	if errors.Is(err, events.ErrDiffers) {
		return service.Hint(err, "nothing that exists was changed: change it with the nats CLI, or delete it when it is empty")
	}
	if err != nil {
		return service.Hint(err, "JetStream must be on (nats-server -js) and this user allowed to make streams")
	}
	if len(made) == 0 {
		fmt.Fprintln(env.Stdout, "nothing to do: everything is there")
	}
	if c.Database == "" {
		fmt.Fprintln(env.Stdout, "without an index: run it again with --database before the first indexer starts")
	}
	return nil
}

func needDatabase(command string) error {
	err := fmt.Errorf("%s: needs a database", command)
	return exit(2, service.Hint(err, "name it with --database DSN or TAPEDECK_DATABASE; without Docker: deploy/local/timescale.sh start DIR"))
}

func needNATS(command string) error {
	err := fmt.Errorf("%s: needs a NATS server", command)
	return exit(2, service.Hint(err, "name it with --nats URL or TAPEDECK_NATS"))
}
