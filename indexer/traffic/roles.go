package traffic

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Roles of the index. None can log in: users are members of one. Whoever set
// the index up owns it as long as there are none.
const (
	OwnerRole  = "tapedeck_owner"  // migrates
	WriterRole = "tapedeck_writer" // an indexer
	ReaderRole = "tapedeck_reader" // Grafana, the command line
)

var (
	// ErrRoles is wrapped when this user may not make roles.
	ErrRoles = errors.New("this user may not make roles")
	// ErrNotOwner is wrapped when there is something to migrate and this user
	// may not.
	ErrNotOwner = errors.New("this user may not migrate the index")
)

func notAllowed(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "42501" // insufficient_privilege
}

// ownTables are all tables of the schema.
var ownTables = []string{"migrations", "workloads", "endpoints", "exchanges", "open_exchanges", "tapes", "places",
	"rollup_part", "rollup_10s", "rollup_1m", "rollup_10m", "rollup_1h", "rollup_1d", "scenarios", "replays", "tombstones", "acknowledged"}

// ownFunctions are what writers call as the owner.
var ownFunctions = []string{"drop_old_chunks(text, timestamptz)", "set_exchange_chunks(interval)"}

// SetRoles makes the roles that are missing and gives them their rights on a
// migrated schema, which then belongs to OwnerRole. It returns the roles made.
func (s *Store) SetRoles(ctx context.Context) (made []string, err error) {
	err = transaction(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
			return err
		}
		for _, role := range []string{OwnerRole, WriterRole, ReaderRole} {
			isNew, err := makeRole(ctx, tx, role)
			if err != nil {
				return err
			}
			if isNew {
				made = append(made, role)
			}
		}
		return grant(ctx, tx)
	})
	if notAllowed(err) {
		err = fmt.Errorf("%w: %w", ErrRoles, err)
	}
	if err != nil {
		return nil, fmt.Errorf("set roles: %w", err)
	}
	return made, nil
}

func makeRole(ctx context.Context, tx pgx.Tx, role string) (made bool, err error) {
	if err := tx.QueryRow(ctx, "select not exists (select from pg_roles where rolname = $1)", role).Scan(&made); err != nil || !made {
		return false, err
	}
	// Roles are the server's, not the database's: another one may be at it.
	_, err = tx.Exec(ctx, "do $$ begin create role "+role+" nologin; exception when duplicate_object or unique_violation then null; end $$")
	return true, err
}

func grant(ctx context.Context, tx pgx.Tx) error {
	var schema string
	if err := tx.QueryRow(ctx, "select quote_ident(current_schema())").Scan(&schema); err != nil {
		return err
	}
	statements := []string{
		// Only members may make the role an owner.
		"do $$ begin if not pg_has_role('" + OwnerRole + "', 'member') then execute format('grant " + OwnerRole + " to %I', current_user); end if; end $$",
		"grant usage on schema " + schema + " to " + OwnerRole + ", " + WriterRole + ", " + ReaderRole,
		"grant create on schema " + schema + " to " + OwnerRole,
		// What a later migration makes.
		"alter default privileges for role " + OwnerRole + " in schema " + schema + " grant select, insert, update, delete on tables to " + WriterRole,
		"alter default privileges for role " + OwnerRole + " in schema " + schema + " grant select on tables to " + ReaderRole,
	}
	for _, table := range ownTables {
		statements = append(statements,
			"alter table "+table+" owner to "+OwnerRole,
			"grant select, insert, update, delete on "+table+" to "+WriterRole,
			"grant select on "+table+" to "+ReaderRole)
	}
	for _, function := range ownFunctions {
		statements = append(statements,
			"alter function "+function+" owner to "+OwnerRole,
			"grant execute on function "+function+" to "+WriterRole)
	}
	for _, sql := range statements {
		if _, err := tx.Exec(ctx, sql); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	return nil
}

// asOwner makes a connection act for OwnerRole, where the schema belongs to it
// and the user is one of its members: what a migration makes then does, too.
func asOwner(ctx context.Context, conn *pgx.Conn) error {
	var owned bool
	err := conn.QueryRow(ctx, `select exists (
		select from pg_class c join pg_roles r on r.oid = c.relowner
		where c.oid = to_regclass(quote_ident(current_schema()) || '.migrations') and r.rolname = $1 and pg_has_role(r.oid, 'member'))`, OwnerRole).Scan(&owned)
	if err != nil || !owned {
		return err
	}
	_, err = conn.Exec(ctx, "set role "+OwnerRole)
	return err
}
