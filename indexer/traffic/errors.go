package traffic

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrRefused is wrapped by errors about a tape that can never be stored.
var ErrRefused = errors.New("tape can never be indexed")

// Unavailable says that an error is the database's or the operator's and none
// of the data: gone, failing over, full, overloaded, not migrated, not allowed.
// The same work succeeds when that has passed.
func Unavailable(err error) bool {
	if err == nil || errors.Is(err, ErrRefused) {
		return false
	}
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		// Nothing that the server answered: the connection. A cancelled
		// context is the caller's own doing.
		return !errors.Is(err, context.Canceled)
	}
	if pg.Code == "57014" { // statement timeout: less work at once may pass
		return false
	}
	return slices.Contains([]string{
		"08", // connection
		"25", // read-only after a failover
		"28", // rights
		"3D", // no such database
		"40", // deadlock, serialisation
		"42", // no such table, no rights
		"53", // full, too many connections
		"55", // lock timeout
		"57", // shut down, crashed, starting
		"58", // I/O
	}, class(pg))
}

// spoiled says that the server refused a value: of the rows that were sent at
// least one can never be stored.
func spoiled(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains([]string{"22", "23", "54"}, class(pg))
}

func class(pg *pgconn.PgError) string {
	if len(pg.Code) < 2 {
		return ""
	}
	return pg.Code[:2]
}
