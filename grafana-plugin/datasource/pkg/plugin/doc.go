// Package plugin is the backend of the Grafana data source: query types, the
// health check and the settings they need.
//
// # What it does
//
// It answers the queries of panels, of Explore and of alert rules with standard
// frames: `traffic` with log lines, `throughput` with time series. Each query
// type is a file of its name; its entry is in (*DataSource).handlers.
//
// # Consumes
//
// The index, through the reading side of indexer/traffic. The archive and NATS
// are only looked at by the health check.
//
// # Publishes
//
// Nothing.
//
// # Guarantees
//
// It only reads. One frame for each query, also when nothing was found; log
// lines ascending, with ids, so that Grafana's paging neither misses nor
// doubles one. Passwords are in no message.
//
// # When it fails
//
// Every error is an answer to its query, in words, marked as downstream's: the
// query is wrong, or the index does not answer. The next query tries again.
package plugin
