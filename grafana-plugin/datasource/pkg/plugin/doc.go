// Package plugin is the backend of the Grafana data source: query types, the
// health check and the settings they need.
//
// # What it does
//
// It answers the queries of panels, of Explore and of alert rules with standard
// frames. Each query type is a view in a file of its name; its entry is in views
// (answer.go). Two resources, /keys and /values, are for ad-hoc filters.
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
// It only reads. One frame for each query (two for the service map), also when
// nothing was found; log lines ascending, with ids, so that Grafana's paging
// neither misses nor doubles one; series and tables as alert rules take them,
// without a user. What users type is bound and never part of a statement.
// Passwords are in no message.
//
// # When it fails
//
// Every error is an answer to its query, in words, marked as downstream's: the
// query is wrong, or the index does not answer. The next query tries again.
package plugin
