// Package traffic is the index: schema, migrations, everything that writes to
// it and every query. Store writes, Reader reads; nothing else in tapedeck
// speaks SQL. The Apache edition of TimescaleDB is all it needs.
//
// What the index promises:
//
//   - A tape is in it once or not at all: its ledger row, its rows and its
//     parts of the rollups are written in one transaction, and the ledger row
//     decides (Store.Write).
//   - Rows are never updated and come in any order; late ones are no trouble.
//   - Raw rows and rollups (a level and the queue before it, read in one
//     statement) agree at any moment (Store.Merge).
//   - Ids of workloads and endpoints follow from their fields, so a rebuilt
//     index equals the lost one row for row.
//
// Views is what users look at: Reader answers from the index, and Scan from the
// tapes where there is no database. Both say the same of the same exchanges.
package traffic
