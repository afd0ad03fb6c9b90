// Package proto holds the .proto files of weir.v1 and of what they import, for
// `weir proto export`. The files of google/protobuf are not among them: every
// compiler has those.
package proto

import "embed"

// Files has the roots of imports: the files of weir.v1 from "." on, and the
// others from "third_party" on.
//
//go:embed weir third_party
var Files embed.FS
