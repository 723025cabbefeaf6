package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	yamlreader "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// build makes the objects of a target, and says from which files and what is wrong with those.
func build(target string) (files []string, objects []json.RawMessage, problems []string) {
	directory, component, _ := strings.Cut(target, "+")
	disk := &recorder{FileSystem: filesys.MakeFsOnDisk(), directory: directory, component: component}
	var err error
	if disk.IsDir(directory) {
		objects, err = kustomize(disk, directory)
	} else {
		objects, err = read(disk, directory)
	}
	if err != nil {
		problems = append(disk.problems, oneLine(err))
	} else {
		problems = disk.problems
	}
	return disk.files, objects, problems
}

func kustomize(disk *recorder, directory string) ([]json.RawMessage, error) {
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(disk, directory)
	if err != nil {
		return nil, err
	}
	var objects []json.RawMessage
	for _, target := range disk.patched {
		if !slices.ContainsFunc(built.Resources(), target.matches) {
			disk.problems = append(disk.problems, fmt.Sprintf("a patch applies to nothing: there is no %s/%s", target.Kind, target.Name))
		}
	}
	for _, object := range built.Resources() {
		text, err := object.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", object.CurId(), err)
		}
		objects = append(objects, text)
	}
	return objects, nil
}

// read takes a file's objects as they are.
func read(disk *recorder, file string) ([]json.RawMessage, error) {
	text, err := disk.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return documents(text)
}

// recorder is the disk. It remembers what is read from it, and checks what Kustomize does not mind.
type recorder struct {
	filesys.FileSystem
	// The kustomization of this directory gets this component on top.
	directory, component string

	files, problems []string
	patched         []patched
}

// patched is what a patch of a kustomization applies to, as regular expressions.
type patched struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

func (r *recorder) ReadFile(path string) ([]byte, error) {
	text, err := r.FileSystem.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if seen := slices.Contains(r.files, fromHere(path)); !seen {
		r.files = append(r.files, fromHere(path))
		if isYAML(path) {
			// Kustomize takes the last one where a key is there twice.
			if _, err := documents(text); err != nil {
				r.problems = append(r.problems, fromHere(path)+": "+oneLine(err))
			}
		}
	}
	if !slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(path)) {
		return text, nil
	}
	if err := r.readKustomization(text); err != nil {
		// Kustomize itself would only say that it finds no kustomization.
		r.problems = append(r.problems, fromHere(path)+": "+oneLine(err))
		return nil, err
	}
	if r.component != "" && fromHere(filepath.Dir(path)) == fromHere(r.directory) {
		return withComponent(text, r.directory, r.component)
	}
	return text, nil
}

// readKustomization notes what is patched, because Kustomize does not mind a patch that applies to nothing, and keeps it from
// fetching what is not in the repository.
func (r *recorder) readKustomization(text []byte) error {
	var kustomization struct {
		Resources  []string `json:"resources"`
		Components []string `json:"components"`
		Patches    []struct {
			Target *patched `json:"target"`
		} `json:"patches"`
	}
	if err := yaml.Unmarshal(text, &kustomization); err != nil {
		return err
	}
	for _, path := range slices.Concat(kustomization.Resources, kustomization.Components) {
		if strings.Contains(path, "://") || strings.HasPrefix(path, "git@") || strings.HasPrefix(path, "github.com") {
			return fmt.Errorf("%s is not in this repository: nothing is fetched here", path)
		}
	}
	for _, patch := range kustomization.Patches {
		if patch.Target != nil {
			r.patched = append(r.patched, *patch.Target)
		}
	}
	return nil
}

func (p patched) matches(object *resource.Resource) bool {
	return matches(p.Kind, object.GetKind()) && (matches(p.Name, object.GetName()) || matches(p.Name, object.OrgId().Name))
}

func matches(pattern, text string) bool {
	found, err := regexp.MatchString("^(?:"+pattern+")$", text)
	return pattern == "" || err == nil && found
}

// withComponent is what somebody writes who wants the component.
func withComponent(text []byte, directory, component string) ([]byte, error) {
	var kustomization map[string]any
	if err := yaml.Unmarshal(text, &kustomization); err != nil {
		return nil, err
	}
	path, err := filepath.Rel(directory, component)
	if err != nil {
		return nil, err
	}
	components, _ := kustomization["components"].([]any)
	kustomization["components"] = append(components, path)
	return yaml.Marshal(kustomization)
}

// documents turns YAML into JSON. Errors: also a key that is there twice.
func documents(text []byte) ([]json.RawMessage, error) {
	var all []json.RawMessage
	reader := yamlreader.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		converted, err := yaml.YAMLToJSONStrict(document)
		if err != nil {
			return nil, err
		}
		if string(converted) != "null" {
			all = append(all, converted)
		}
	}
}

// manifestsBelow lists the YAML files below a directory.
func manifestsBelow(directory string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && isYAML(path) {
			files = append(files, fromHere(path))
		}
		return err
	})
	return files, err
}

func isYAML(path string) bool {
	extension := filepath.Ext(path)
	return extension == ".yaml" || extension == ".yml"
}

// fromHere is a path as the user would write it. Kustomize asks for absolute ones, without symbolic links.
func fromHere(path string) string {
	here, err := os.Getwd()
	if err == nil {
		here, err = filepath.EvalSymlinks(here)
	}
	if err != nil || !filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	relative, err := filepath.Rel(here, path)
	if err != nil {
		return path
	}
	return relative
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
