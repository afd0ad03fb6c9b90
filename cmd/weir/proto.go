package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	files "github.com/weir-gateway/weir/proto"
)

type protoCommand struct {
	Export        protoExportCommand   `cmd:"" help:"Write the .proto files of weir.v1, with their imports and a descriptor set, for teams that generate their own stubs."`
	ServiceConfig serviceConfigCommand `cmd:"" help:"Print the service config for gRPC clients: replicas in turn, those that are not healthy left out, refusals that may pass tried again."`
}

type serviceConfigCommand struct{}

// serviceConfig is gRPC's service config in JSON, for clients to take as their
// default or for a resolver to serve.
//
//go:embed service_config.json
var serviceConfig string

func (c *serviceConfigCommand) Run(t terminal) error {
	_, err := io.WriteString(t.out, serviceConfig)
	return err
}

// descriptorFile is the FileDescriptorSet beside the .proto files.
const descriptorFile = "weir.binpb"

type protoExportCommand struct {
	Dir string `arg:"" help:"Folder to write to; made where it is not there." placeholder:"DIR"`
}

func (c *protoExportCommand) Run(t terminal) error {
	n := 0
	for _, root := range []string{"third_party", "."} {
		tree, err := fs.Sub(files.Files, root)
		if err != nil {
			return err
		}
		if err := fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				if root == "." && path == "third_party" {
					return fs.SkipDir
				}
				return err
			}
			text, err := fs.ReadFile(tree, path)
			if err != nil {
				return err
			}
			n++
			return writeFile(filepath.Join(c.Dir, filepath.FromSlash(path)), text)
		}); err != nil {
			return err
		}
	}
	set, err := proto.MarshalOptions{Deterministic: true}.Marshal(descriptorSet())
	if err == nil {
		err = writeFile(filepath.Join(c.Dir, descriptorFile), set)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(t.out, "wrote %d .proto files and %s to %s: give protoc or buf that folder as the root of imports\n", n, descriptorFile, c.Dir)
	return err
}

func writeFile(name string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return usageError(err)
	}
	if err := os.WriteFile(name, text, 0o644); err != nil {
		return usageError(err)
	}
	return nil
}

// descriptorSet has the files of weir.v1 and all that they import, each behind
// what it imports.
func descriptorSet() *descriptorpb.FileDescriptorSet {
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if seen[file.Path()] {
			return
		}
		seen[file.Path()] = true
		imports := file.Imports()
		for i := range imports.Len() {
			add(imports.Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	for _, file := range ourFiles() {
		add(file)
	}
	return set
}

// ourFiles are the files of weir.v1 by path.
func ourFiles() (all []protoreflect.FileDescriptor) {
	protoregistry.GlobalFiles.RangeFilesByPackage(weirv1.File_weir_v1_error_proto.Package(), func(file protoreflect.FileDescriptor) bool {
		all = append(all, file)
		return true
	})
	slices.SortFunc(all, func(a, b protoreflect.FileDescriptor) int { return cmp.Compare(a.Path(), b.Path()) })
	return all
}
