// Command vulncheck is govulncheck in the version that go.mod pins.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/vuln/scan"
)

func main() {
	check := scan.Command(context.Background(), os.Args[1:]...)
	err := check.Start()
	if err == nil {
		err = check.Wait()
	}
	var status interface{ ExitCode() int }
	switch {
	case errors.As(err, &status):
		os.Exit(status.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
