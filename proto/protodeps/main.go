//go:build ignore

// Protodeps prints the .proto text of what weir/v1 imports or speaks of, from
// the descriptors that are linked into Go packages. So the text has the
// versions that proto/gen.mod pins, and comes from the Go module proxy alone.
// The descriptors hold no comments; the text has none either.
//
// From the root of the repository:
//
//	go run -modfile=proto/gen.mod proto/protodeps/main.go proto/third_party
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	_ "buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	_ "google.golang.org/genproto/googleapis/api/annotations"
	_ "google.golang.org/genproto/googleapis/rpc/errdetails"
	_ "google.golang.org/genproto/googleapis/rpc/status"
)

// header says where a file comes from. googleapis and protovalidate are both
// under the Apache License 2.0.
const header = "// Printed by proto/protodeps from a Go package that links it; do not edit.\n// Apache License 2.0, by its authors.\n\n"

// roots are what weir/v1 imports, and the details its errors carry.
var roots = []string{
	"buf/validate/validate.proto",
	"google/api/annotations.proto",
	"google/api/client.proto",
	"google/api/field_behavior.proto",
	"google/api/resource.proto",
	"google/rpc/error_details.proto",
	"google/rpc/status.proto",
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: protodeps DIR (DIR is made anew)")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "protodeps:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	files := map[string]protoreflect.FileDescriptor{}
	for _, path := range roots {
		file, err := protoregistry.GlobalFiles.FindFileByPath(path)
		if err != nil {
			return fmt.Errorf("%s is not linked in: %w", path, err)
		}
		add(files, file)
	}
	paths := make([]string, 0, len(files))
	for path := range files {
		paths = append(paths, path)
	}
	sort.Strings(paths)

	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	printer := protoprint.Printer{SortElements: false, Compact: true}
	for _, path := range paths {
		text, err := printer.PrintProtoToString(files[path])
		if err != nil {
			return fmt.Errorf("print %s: %w", path, err)
		}
		name := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		text = header + text
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// add takes a file and what it imports. google/protobuf/* is left out: every
// compiler brings it.
func add(files map[string]protoreflect.FileDescriptor, file protoreflect.FileDescriptor) {
	if strings.HasPrefix(file.Path(), "google/protobuf/") || files[file.Path()] != nil {
		return
	}
	files[file.Path()] = file
	imports := file.Imports()
	for i := range imports.Len() {
		add(files, imports.Get(i).FileDescriptor)
	}
}
