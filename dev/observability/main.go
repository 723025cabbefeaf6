// Command observability checks what Prometheus and Grafana are given against metrics that were really scraped: that Prometheus'
// own parsers accept them, and that every metric and every value of a label that they ask for is there.
//
//	observability --metrics FILE... [--rules FILE] [--rule-tests FILE] [--dashboard FILE]
//
// A file of metrics is in Prometheus' text format, one of tests in the format of `promtool test rules`. It prints a line for
// each mistake, and ends with 1 when there is one.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return fmt.Sprint(*l) }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func main() {
	problems, err := run(os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case problems > 0:
		os.Exit(1)
	}
}

// run reports how many mistakes it found. Errors: it could not look.
func run(arguments []string, output io.Writer) (int, error) {
	var files, own list
	flags := flag.NewFlagSet("observability", flag.ContinueOnError)
	flags.Var(&own, "own", "a `file` of our own metrics, whose names and help are checked as well")
	flags.Var(&files, "metrics", "a `file` of others' metrics")
	rules := flags.String("rules", "", "a `file` of alerting rules")
	ruleTests := flags.String("rule-tests", "", "a `file` of tests of alerting rules")
	dashboard := flags.String("dashboard", "", "a `file` with a dashboard of Grafana's")
	if err := flags.Parse(arguments); err != nil {
		return 0, err
	}
	known := metrics{}
	var problems []string
	for _, file := range own {
		found, err := known.lint(file)
		if err != nil {
			return 0, err
		}
		problems = append(problems, found...)
	}
	for _, file := range append(own, files...) {
		if err := known.read(file); err != nil {
			return 0, err
		}
	}
	checks := []struct {
		file  string
		check func(string) ([]string, error)
	}{{*rules, known.checkRules}, {*ruleTests, known.checkRuleTests}, {*dashboard, known.checkDashboard}}
	for _, asked := range checks {
		if asked.file == "" {
			continue
		}
		found, err := asked.check(asked.file)
		if err != nil {
			return 0, err
		}
		problems = append(problems, found...)
	}
	for _, problem := range problems {
		fmt.Fprintln(output, problem)
	}
	return len(problems), nil
}
