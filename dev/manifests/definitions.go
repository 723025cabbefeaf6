package main

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// What we know of kinds whose own definitions are in no Go module that is light enough: the fields that we use, and
// some that we might.
//
//go:embed known/*.yaml
var known embed.FS

// definitions say of each kind what an object of it may contain.
type definitions struct {
	kinds     map[schema.GroupVersionKind]definition
	unchecked []string
}

type definition struct {
	source string
	// check lists what is wrong with an object, apart from its metadata.
	check func(object []byte) []string
}

func newDefinitions(directories, unchecked []string) (definitions, error) {
	all := definitions{kinds: map[schema.GroupVersionKind]definition{}, unchecked: unchecked}
	if err := all.addBuiltIn(); err != nil {
		return all, err
	}
	if err := all.addFiles(known, "known/*.yaml", func(string) string { return "a list of known fields (dev/manifests/known)" }); err != nil {
		return all, err
	}
	for _, directory := range directories {
		source := func(group string) string { return "the definitions of " + group }
		if err := all.addFiles(os.DirFS(directory), "*.yaml", source); err != nil {
			return all, fmt.Errorf("%s: %w", directory, err)
		}
	}
	return all, nil
}

// addFiles adds CustomResourceDefinitions. Errors: also that there is none.
func (d definitions) addFiles(files fs.FS, pattern string, source func(group string) string) error {
	paths, err := fs.Glob(files, pattern)
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("there are no definitions")
	}
	for _, path := range paths {
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		all, err := documents(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, document := range all {
			if err := d.addCustom(document, source); err != nil {
				return fmt.Errorf("%s: %w", filepath.Base(path), err)
			}
		}
	}
	return nil
}

// addCustom adds the versions of a CustomResourceDefinition that a cluster accepts.
func (d definitions) addCustom(document []byte, source func(group string) string) error {
	var custom apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(document, &custom); err != nil {
		return err
	}
	for _, version := range custom.Spec.Versions {
		if !version.Served || version.Schema == nil {
			continue
		}
		check, err := customCheck(version.Schema.OpenAPIV3Schema)
		if err != nil {
			return fmt.Errorf("%s %s: %w", custom.Name, version.Name, err)
		}
		kind := schema.GroupVersionKind{Group: custom.Spec.Group, Version: version.Name, Kind: custom.Spec.Names.Kind}
		d.kinds[kind] = definition{source: source(custom.Spec.Group), check: check}
	}
	return nil
}

// customCheck checks as a cluster does: values by the schema, and then unknown fields by what a cluster would silently drop.
func customCheck(properties *apiextensionsv1.JSONSchemaProps) (func([]byte) []string, error) {
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(properties, &internal, nil); err != nil {
		return nil, err
	}
	structural, err := structuralschema.NewStructural(&internal)
	if err != nil {
		return nil, err
	}
	validator := validate.NewSchemaValidator(structural.ToKubeOpenAPI(), nil, "", strfmt.Default)
	return func(document []byte) []string {
		var object map[string]any
		if err := utiljson.Unmarshal(document, &object); err != nil {
			return []string{oneLine(err)}
		}
		problems := unknownMetadata(document)
		for _, err := range validator.Validate(object).Errors {
			problems = append(problems, oneLine(err))
		}
		track := structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
		for _, path := range pruning.PruneWithOptions(object, structural, true, track) {
			problems = append(problems, fmt.Sprintf("unknown field %q", path))
		}
		return problems
	}, nil
}

// check says what an object was checked by, and what is wrong with it.
func (d definitions) check(object []byte) (string, []string) {
	var head metav1.TypeMeta
	if err := json.Unmarshal(object, &head); err != nil {
		return "nothing", []string{oneLine(err)}
	}
	kind := head.GroupVersionKind()
	definition, found := d.kinds[kind]
	switch {
	case found:
		return definition.source, append(checkNames(object), definition.check(object)...)
	case slices.Contains(d.unchecked, kind.Group):
		return "nothing: there are no definitions of " + kind.Group + " here", checkNames(object)
	default:
		return "nothing", []string{fmt.Sprintf("there is no kind %s in %s", head.Kind, head.APIVersion)}
	}
}

// unknownMetadata lists what no object's metadata may contain. The Go types of the built-in kinds say so by themselves.
func unknownMetadata(document []byte) []string {
	var object struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	unknown, err := kjson.UnmarshalStrict(document, &object, kjson.DisallowUnknownFields)
	if err != nil {
		return []string{oneLine(err)}
	}
	var problems []string
	for _, err := range unknown {
		if strings.Contains(err.Error(), `"metadata.`) {
			problems = append(problems, oneLine(err))
		}
	}
	return problems
}

// checkNames checks name, namespace, labels and annotations by the rules that hold for every kind.
func checkNames(document []byte) []string {
	var object metav1.PartialObjectMetadata
	if err := json.Unmarshal(document, &object); err != nil {
		return []string{oneLine(err)}
	}
	metadata, path := &object.ObjectMeta, field.NewPath("metadata")
	var problems []string
	for _, err := range validation.ValidateObjectMeta(metadata, metadata.Namespace != "", validation.NameIsDNSSubdomain, path) {
		problems = append(problems, oneLine(err))
	}
	return problems
}

// name is how people call an object.
func name(document []byte) string {
	var object metav1.PartialObjectMetadata
	if err := json.Unmarshal(document, &object); err != nil {
		return "an object"
	}
	return object.Kind + "/" + object.Name
}
