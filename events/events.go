// Package events is the contract between tapedeck's services: subjects,
// streams and consumers, CloudEvents, and the tape. It imports none of our
// packages, and whatever two services must agree on is declared here only.
//
//   - tape.proto, tape.go, id.go: the tape, its frame, ids
//   - subjects.go: every subject, and who may speak on it
//   - streams.go: JetStream streams, durable consumers, key-value buckets, Setup
//   - codec.go: CloudEvents 1.0, binary out; binary, structured and, on
//     requests, bare JSON in
//   - data.go: what the JSON events carry
//   - entry.go: an index entry with its workload and endpoint (a Row)
//   - selector/: the one filter language
package events
