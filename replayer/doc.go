// Package replayer sends the recorded sessions of a scenario to a target and
// says what came of it.
//
// # What it does
//
// Run replays one scenario: sessions keep their order and their own
// connection, requests start when the load says (pace.go: recorded times,
// faster, a rate, or one after another), live values take the place of
// recorded ones, each answer is compared with the recorded one. Latency counts
// from the intended start of a request, so that a target that stalls can't
// hide it; a late answer delays its own session only. Each request carries
// tapedeck-replay: <id>.<session> and a trace of its session's own.
//
// Service does that on request, many processes sharing the requests.
//
// # Consumes
//
// COMMANDS/replayer: replay.request, as an event or as bare JSON;
// COMMANDS/replayer-shard: replay.shard.<id>, which this version only buries.
// PROGRESS: replay.control.<id> (cancel) and replay.mocked.<id>, by an ordered
// consumer for each replay. JOBS: replay.<id>, shard.<id>.<n>.
//
// # Publishes
//
// replay.progress.<id> every second, the last one marked final;
// replay.control.<id> (prepare, start, finish) to the mocks;
// replay.result.<id>, at most 256 KiB, with details in the archive under
// replays/<id>/: result.json, report.html, junit.xml, misses.json.
//
// # Guarantees
//
// A request is answered by one result, however often it is delivered: its
// truth is the key replay.<id> in JOBS, created once. A share of the load is
// claimed before its first request and never sent twice; one that was lost
// makes the verdict incomplete. Only targets that --allow-target names are
// reached, checked on the address that a connection is made to. Values of
// --secrets go to the target in the place of redaction's tokens and into
// nothing that is published, stored or logged. Anything not proved is not
// passed.
//
// # When it fails
//
// A request that is late, invalid or refused, or whose scenario needs a
// redacted credential that --secrets does not have, is answered with the
// verdict error and the reason; what has no readable JSON goes to dlq.COMMANDS. When
// the process dies its lease lapses, and another answers for it: incomplete.
// Without the archive or NATS the message stays in COMMANDS and is delivered
// again.
package replayer
