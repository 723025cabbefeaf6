// Command daprd is the Dapr sidecar with only the components that taskcast's development uses. It is the real runtime:
// what is left out are the components for other brokers and clouds, which make the whole daprd slow to build.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/dapr/components-contrib/bindings/cron"
	"github.com/dapr/components-contrib/nameresolution/mdns"
	inmemory "github.com/dapr/components-contrib/pubsub/in-memory"
	"github.com/dapr/components-contrib/pubsub/kafka"
	"github.com/dapr/components-contrib/secretstores/local/env"
	"github.com/dapr/components-contrib/secretstores/local/file"
	"github.com/dapr/dapr/cmd/daprd/options"
	"github.com/dapr/dapr/pkg/components/bindings"
	"github.com/dapr/dapr/pkg/components/nameresolution"
	"github.com/dapr/dapr/pkg/components/pubsub"
	"github.com/dapr/dapr/pkg/components/secretstores"
	"github.com/dapr/dapr/pkg/healthz"
	"github.com/dapr/dapr/pkg/metrics"
	"github.com/dapr/dapr/pkg/modes"
	"github.com/dapr/dapr/pkg/runtime"
	"github.com/dapr/dapr/pkg/runtime/registry"
	"github.com/dapr/dapr/pkg/security"
	"github.com/dapr/kit/concurrency"
	"github.com/dapr/kit/logger"
	"github.com/dapr/kit/signals"
	"go.opencensus.io/stats/view"
)

// The version in go.mod; Dapr's own release build sets it with a linker flag.
const version = "1.18.1"

var log = logger.NewLogger("dapr.runtime")

func main() {
	flags, err := options.New(os.Args[1:])
	if err != nil {
		log.Fatalf("the command line: %s", err)
	}
	if flags.RuntimeVersion {
		fmt.Println(version)
		return
	}
	flags.Logger.SetAppID(flags.AppID)
	if err := logger.ApplyOptionsToLoggers(&flags.Logger); err != nil {
		log.Fatal(err)
	}
	registerComponents()
	if err := serveUntilStopped(signals.Context(), flags); err != nil {
		log.Fatalf("daprd stopped: %s", err)
	}
}

// serveUntilStopped runs the sidecar, and starts it anew in this process after each SIGHUP, as Dapr's own daprd does: a changed
// Resiliency or Configuration raises that signal.
func serveUntilStopped(ctx context.Context, flags *options.Options) error {
	for run := range signals.OnHUP(ctx) {
		if err := serve(run, flags); err != nil {
			return err
		}
		if run.Err() == nil {
			// The runtime ended without a signal: its shutdown was requested.
			return nil
		}
	}
	return nil
}

// registerComponents names every component type that a resource file may ask for.
func registerComponents() {
	componentLog := logger.NewLogger("dapr.contrib")
	pubsub.DefaultRegistry.Logger = componentLog
	bindings.DefaultRegistry.Logger = componentLog
	secretstores.DefaultRegistry.Logger = componentLog
	nameresolution.DefaultRegistry.Logger = componentLog

	pubsub.DefaultRegistry.RegisterComponent(kafka.NewKafka, "kafka")
	pubsub.DefaultRegistry.RegisterComponent(inmemory.New, "in-memory")
	bindings.DefaultRegistry.RegisterInputBinding(cron.NewCron, "cron")
	secretstores.DefaultRegistry.RegisterComponent(env.NewEnvSecretStore, "local.env")
	secretstores.DefaultRegistry.RegisterComponent(file.NewLocalSecretStore, "local.file")
	// The runtime will not start without a name resolver, although nothing here calls another app by name.
	nameresolution.DefaultRegistry.RegisterComponent(mdns.NewResolver, "mdns")
}

// serve runs the sidecar until the context ends.
func serve(ctx context.Context, flags *options.Options) error {
	health := healthz.New()
	keys, err := security.New(ctx, security.Options{
		SentryAddress:           flags.SentryAddress,
		ControlPlaneTrustDomain: flags.ControlPlaneTrustDomain,
		ControlPlaneNamespace:   flags.ControlPlaneNamespace,
		TrustAnchors:            flags.TrustAnchors,
		AppID:                   flags.AppID,
		MTLSEnabled:             flags.EnableMTLS,
		Mode:                    modes.DaprMode(flags.Mode),
		Healthz:                 health,
	})
	if err != nil {
		return err
	}
	sidecar := func(ctx context.Context) error {
		handler, err := keys.Handler(ctx)
		if err != nil {
			return err
		}
		config := configuration(flags)
		config.Security, config.Healthz, config.Metrics.Healthz = handler, health, health
		instance, err := runtime.FromConfig(ctx, config)
		if err != nil {
			return err
		}
		return instance.Run(ctx)
	}
	return concurrency.NewRunnerManager(keys.Run, sidecar).Run(ctx)
}

// configuration carries over the flags that mean something on one machine without a control plane.
func configuration(flags *options.Options) *runtime.Config {
	return &runtime.Config{
		AppID:                         flags.AppID,
		Mode:                          flags.Mode,
		Config:                        flags.Config,
		ResourcesPath:                 flags.ResourcesPath,
		Registry:                      registry.NewOptions(),
		ControlPlaneAddress:           flags.ControlPlaneAddress,
		SentryAddress:                 flags.SentryAddress,
		SchedulerAddress:              flags.SchedulerAddress,
		SchedulerStreams:              flags.SchedulerJobStreams,
		ActorsService:                 flags.ActorsService,
		ActorsDisseminationTimeout:    flags.ActorsDisseminationTimeout,
		AllowedOrigins:                flags.AllowedOrigins,
		DaprHTTPPort:                  flags.DaprHTTPPort,
		DaprAPIGRPCPort:               flags.DaprAPIGRPCPort,
		DaprAPIListenAddresses:        flags.DaprAPIListenAddresses,
		DaprInternalGRPCPort:          flags.DaprInternalGRPCPort,
		DaprInternalGRPCListenAddress: flags.DaprInternalGRPCListenAddress,
		DaprPublicPort:                flags.DaprPublicPort,
		DaprPublicListenAddress:       flags.DaprPublicListenAddress,
		DaprGracefulShutdownSeconds:   flags.DaprGracefulShutdownSeconds,
		DaprBlockShutdownDuration:     flags.DaprBlockShutdownDuration,
		DisableInitEndpoints:          flags.DisableInitEndpoints,
		MaxRequestSize:                flags.MaxRequestSize,
		ReadBufferSize:                flags.ReadBufferSize,
		UnixDomainSocket:              flags.UnixDomainSocket,
		EnableAPILogging:              flags.EnableAPILogging,
		ProfilePort:                   flags.ProfilePort,
		EnableProfiling:               flags.EnableProfiling,
		ApplicationPort:               flags.AppPort,
		AppProtocol:                   flags.AppProtocol,
		AppChannelAddress:             flags.AppChannelAddress,
		AppMaxConcurrency:             flags.AppMaxConcurrency,
		EnableAppHealthCheck:          flags.EnableAppHealthCheck,
		AppHealthCheckPath:            flags.AppHealthCheckPath,
		AppHealthProbeInterval:        flags.AppHealthProbeInterval,
		AppHealthProbeTimeout:         flags.AppHealthProbeTimeout,
		AppHealthThreshold:            flags.AppHealthThreshold,
		Metrics: metrics.Options{
			Enabled:       flags.Metrics.Enabled(),
			Port:          flags.Metrics.Port(),
			ListenAddress: flags.Metrics.ListenAddress(),
			Namespace:     metrics.DefaultMetricNamespace,
			Log:           log,
			Meter:         view.NewMeter(),
		},
	}
}
