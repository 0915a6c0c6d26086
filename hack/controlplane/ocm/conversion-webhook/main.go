// The conversion webhook of the addon API with ports of our choice.
//
// `addon webhook-server` of Open Cluster Management v1.2.0 always takes the ports 8000 and 8080 of the machine, so two
// environments could not run side by side, nor one beside anything else on these ports. This is the same webhook, the
// same conversions, behind a manager that takes only the port it is given. Later versions have flags for it.
package main

import (
	"flag"
	"log"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"open-cluster-management.io/ocm/pkg/addon/webhook/v1alpha1"
	"open-cluster-management.io/ocm/pkg/addon/webhook/v1beta1"
	"open-cluster-management.io/ocm/pkg/common/options"
)

func main() {
	port := flag.Int("port", 9443, "port of the webhook")
	certDir := flag.String("certdir", "", "directory with tls.crt and tls.key")
	health := flag.String("health-probe-address", "0", "address of /readyz; 0 for none")
	flag.Parse()
	ctrl.SetLogger(klog.Background())
	if err := run(*port, *certDir, *health); err != nil {
		log.Fatal(err)
	}
}

func run(port int, certDir, health string) error {
	scheme := runtime.NewScheme()
	for _, install := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.Install, v1beta1.Install} {
		if err := install(scheme); err != nil {
			return err
		}
	}
	server := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: certDir})
	manager, err := ctrl.NewManager(ctrl.GetConfigOrDie(), ctrl.Options{
		Scheme:                 scheme,
		HealthProbeBindAddress: health,
		Metrics:                metricsserver.Options{BindAddress: "0"},
		WebhookServer:          server,
	})
	if err != nil {
		return err
	}
	// Ready means that conversions are answered, not only that the process runs.
	if err := manager.AddReadyzCheck("webhook", server.StartedChecker()); err != nil {
		return err
	}
	if err := manager.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	for _, hook := range []options.WebhookInitializer{
		&v1alpha1.ManagedClusterAddOnWebhook{},
		&v1beta1.ManagedClusterAddOnWebhook{},
		&v1alpha1.ClusterManagementAddOnWebhook{},
		&v1beta1.ClusterManagementAddOnWebhook{},
	} {
		if err := hook.Init(manager); err != nil {
			return err
		}
	}
	return manager.Start(ctrl.SetupSignalHandler())
}
