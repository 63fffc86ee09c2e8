-- A worker without a configuration bundle works with what is there.
return function(snapshot)
  local worker = snapshot.worker
  if snapshot.cause ~= "worker_created" or worker.config_bundle then return {} end
  return { { severity = "info", code = "runtime.local_default_resources", subject = worker.worker_ref,
    message = "the worker names no configuration bundle: it gets the runtime's local default resources" } }
end
