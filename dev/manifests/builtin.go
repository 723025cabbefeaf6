package main

import (
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	kjson "sigs.k8s.io/json"
)

// addBuiltIn adds the kinds that are Go types: Kubernetes' own, and the Gateway API's.
func (d definitions) addBuiltIn() error {
	kubernetes := []func(*runtime.Scheme) error{
		appsv1.AddToScheme,
		autoscalingv2.AddToScheme,
		batchv1.AddToScheme,
		corev1.AddToScheme,
		networkingv1.AddToScheme,
		policyv1.AddToScheme,
		rbacv1.AddToScheme,
	}
	for _, add := range kubernetes {
		if err := d.addTypes("Kubernetes' types", add); err != nil {
			return err
		}
	}
	return d.addTypes("the Gateway API's types", gatewayv1.Install)
}

func (d definitions) addTypes(source string, add func(*runtime.Scheme) error) error {
	scheme := runtime.NewScheme()
	if err := add(scheme); err != nil {
		return err
	}
	for kind := range scheme.AllKnownTypes() {
		d.kinds[kind] = definition{source: source, check: typedCheck(scheme, kind)}
	}
	return nil
}

// typedCheck refuses what a client with --validate=strict would: fields that the type lacks, and values of another type.
func typedCheck(scheme *runtime.Scheme, kind schema.GroupVersionKind) func([]byte) []string {
	return func(document []byte) []string {
		object, err := scheme.New(kind)
		if err != nil {
			return []string{oneLine(err)}
		}
		unknown, err := kjson.UnmarshalStrict(document, object)
		if err != nil {
			return []string{strings.TrimPrefix(oneLine(err), "json: ")}
		}
		var problems []string
		for _, err := range unknown {
			problems = append(problems, oneLine(err))
		}
		return problems
	}
}
