// Package scenario is the format of scenarios and what is learned from
// recorded exchanges to make them: tests (inbound sessions), mocks (outbound
// exchanges) and rules. A scenario is self-contained, because tapes live
// shorter, and lies in pieces, so that a worker reads only its share:
//
//	scenarios/<name>/<version>/manifest                  what is in it, as JSON, written last
//	scenarios/<name>/<version>/tests/<n>-<hash>          whole sessions, in order of start
//	scenarios/<name>/<version>/mocks/<dependency>/<n>-<hash>  answers, by signature
//	scenarios/<name>/latest/<time>-<version>             the newest version is the last key
//
// Pieces carry a part of their own hash in their name: a version that was
// begun twice, because a worker died, never mixes two attempts; the manifest
// names what counts.
//
//   - scenario.go, manifest.go: Open, Tests, Mocks, versions
//   - piece.go: the frame of a piece; reader.go, writer.go: pieces in a bucket
//   - folder.go: the same as a folder of readable files, to edit and commit
//   - builder.go: from a stream of exchanges to a scenario, in bounded memory
//   - place.go, leaf.go: names of places in an exchange, and what lies there
//   - volatile.go, link.go, echo.go: what is learned from the recording
//   - redacted.go, credential.go: what redaction replaced, and what a replay has to be given of it
//   - values.go: a session while it is replayed; secrets.go, secretsfile.go: what it is given
//   - compare.go, level.go: what differs; match.go: which mock answers
package scenario
