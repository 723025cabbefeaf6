// Command manifests builds kustomizations and checks each object in them as strictly as a cluster could, without one: every
// field must be in the definition of the object's kind. It needs neither kubectl nor a network.
//
//	manifests [--json] [--definitions DIRECTORY]... [--unchecked GROUP]... [--rest DIRECTORY] TARGET...
//
// A target is a directory with a kustomization, such a directory and a component that is added to it
// (`deploy/overlays/production+deploy/components/keda`), or a file with objects. It ends with 1 when something is wrong.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// A line of the output with --json. Besides the target it has a file that was read, or an object with what it was checked
// by, or a problem.
type line struct {
	Target    string          `json:"target"`
	File      string          `json:"file,omitempty"`
	Object    json.RawMessage `json:"object,omitempty"`
	CheckedBy string          `json:"checkedBy,omitempty"`
	Problem   string          `json:"problem,omitempty"`
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return fmt.Sprint(*l) }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func main() {
	wrong, err := run(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case wrong:
		os.Exit(1)
	}
}

// run reports whether something is wrong with the manifests. Errors: they could not be checked.
func run(arguments []string, output io.Writer) (bool, error) {
	var directories, unchecked list
	flags := flag.NewFlagSet("manifests", flag.ContinueOnError)
	asJSON := flags.Bool("json", false, "print everything as lines of JSON")
	rest := flags.String("rest", "", "also check each file below this `directory` that belongs to no target")
	flags.Var(&directories, "definitions", "a `directory` with CustomResourceDefinitions")
	flags.Var(&unchecked, "unchecked", "a `group` of which there are no definitions here")
	if err := flags.Parse(arguments); err != nil {
		return false, err
	}
	definitions, err := newDefinitions(directories, unchecked)
	if err != nil {
		return false, err
	}
	report := &report{output: output, show: asText, files: map[string]bool{}}
	if *asJSON {
		report.show = asLineOfJSON
	}
	for _, target := range flags.Args() {
		check(target, definitions, report)
	}
	if *rest != "" {
		files, err := manifestsBelow(*rest)
		if err != nil {
			return false, err
		}
		for _, file := range files {
			if !report.files[file] {
				check(file, definitions, report)
			}
		}
	}
	return report.wrong, report.err
}

// check builds one target and reports its files, its objects and what is wrong with them.
func check(target string, definitions definitions, report *report) {
	files, objects, problems := build(target)
	for _, file := range files {
		report.add(line{Target: target, File: file})
	}
	for _, problem := range problems {
		report.add(line{Target: target, Problem: problem})
	}
	for _, object := range objects {
		by, problems := definitions.check(object)
		report.add(line{Target: target, Object: object, CheckedBy: by})
		for _, problem := range problems {
			report.add(line{Target: target, Problem: name(object) + ": " + problem})
		}
	}
}

// report is what was found out so far.
type report struct {
	output io.Writer
	show   func(io.Writer, line) error
	files  map[string]bool
	wrong  bool
	err    error
}

func (r *report) add(entry line) {
	if entry.File != "" {
		r.files[entry.File] = true
	}
	r.wrong = r.wrong || entry.Problem != ""
	r.err = errors.Join(r.err, r.show(r.output, entry))
}

func asLineOfJSON(output io.Writer, entry line) error {
	return json.NewEncoder(output).Encode(entry)
}

func asText(output io.Writer, entry line) (err error) {
	switch {
	case entry.Problem != "":
		_, err = fmt.Fprintf(output, "%s: %s\n", entry.Target, entry.Problem)
	case entry.Object != nil:
		_, err = fmt.Fprintf(output, "%s: %s: checked by %s\n", entry.Target, name(entry.Object), entry.CheckedBy)
	}
	return err
}
