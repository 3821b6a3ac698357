package traffic

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Store writes the index. It is safe for concurrent use.
type Store struct {
	pool  *pgxpool.Pool
	known known // dictionary rows that are in the database

	buriedLock sync.Mutex
	buried     buried // tombstones that were read
}

// Reader reads the index. It is safe for concurrent use; every query goes
// through it.
type Reader struct {
	pool *pgxpool.Pool
}

// Open connects to the database for writing. It fails when the database does
// not answer; it does not migrate, see Migrate.
func Open(ctx context.Context, dsn string) (*Store, error) {
	pool, err := connect(ctx, dsn, map[string]string{
		"application_name":                    "tapedeck indexer",
		"lock_timeout":                        "10s",
		"statement_timeout":                   "60s",
		"idle_in_transaction_session_timeout": "60s",
		// The ack to the queue follows the commit: it has to be durable.
		"synchronous_commit": "on",
	})
	if err != nil {
		return nil, err
	}
	return &Store{pool: pool}, nil
}

// OpenReader connects to the database for reading only. It fails when the
// database does not answer.
func OpenReader(ctx context.Context, dsn string) (*Reader, error) {
	pool, err := connect(ctx, dsn, map[string]string{
		"application_name":                    "tapedeck reader",
		"default_transaction_read_only":       "on",
		"statement_timeout":                   "30s",
		"idle_in_transaction_session_timeout": "60s",
	})
	if err != nil {
		return nil, err
	}
	return &Reader{pool: pool}, nil
}

func connect(ctx context.Context, dsn string, settings map[string]string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("read database address: %w", err)
	}
	for name, value := range settings {
		if _, set := config.ConnConfig.RuntimeParams[name]; !set {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	if !strings.Contains(dsn, "pool_max_conns") {
		config.MaxConns = 16 // two cores would mean four
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, fmt.Errorf("connect to database %s:%d/%s: %w", config.ConnConfig.Host, config.ConnConfig.Port, config.ConnConfig.Database, err)
	}
	return pool, nil
}

// Close waits until every connection is given back and closes them.
func (s *Store) Close() { s.pool.Close() }

// Close waits until every connection is given back and closes them.
func (r *Reader) Close() { r.pool.Close() }

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.pool.Ping(ctx) }

// Ping says whether the database answers.
func (r *Reader) Ping(ctx context.Context) error { return r.pool.Ping(ctx) }

// transaction runs do and commits. An error of the commit is unknown: the
// transaction may be in the database, and only the ledger tells.
func transaction(ctx context.Context, pool *pgxpool.Pool, do func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, pool, do)
}
