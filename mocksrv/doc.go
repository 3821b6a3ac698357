// Package mocksrv answers for the dependencies of a recorded service, from a
// scenario.
//
// # What it does
//
// Listen opens a listener for each dependency, on the address that was
// recorded for it (record --outbound LISTEN=HOST:PORT) when it is free, else
// on another, and one HTTP proxy for programs that read HTTP_PROXY. A request
// gets the recorded answer to the same request; else the one to a request that
// differs in volatile places only, with the live values where the recording
// repeats them; else, counted apart, one that has another value of its class
// where one was redacted; else it is a miss: 501 with a JSON body that names the closest
// recorded request and what differs. Equal requests are answered in recorded
// order, the last answer again and again.
//
// Service does that for replays, many processes sharing the dependencies.
//
// # Consumes
//
// PROGRESS: replay.control.<id> (prepare, finish, cancel), by an ordered
// consumer. JOBS: mock.<replay>.<dependency>.
//
// # Publishes
//
// replay.mocked.<id>: for each dependency that it owns ready at an address,
// then the final counts; error with the reason when it can't be mocked.
//
// # Guarantees
//
// One process owns a dependency of a replay, so that the order of answers has
// one state. Nothing recorded is answered with a value that was not recorded,
// but for those that repeat the live request. Values of --secrets tell requests
// apart and stand in nothing that is answered, published or logged. A miss is never answered as if
// it were a hit. No real dependency is called unless pass-through is asked for,
// and each such call is counted.
//
// # When it fails
//
// A dependency that can't be mocked (its scenario is gone, no address is free)
// is announced as an error, and the replay does not begin. When the process
// dies, the target's connections break and the replayer misses the final
// counts: the replay is incomplete.
package mocksrv
