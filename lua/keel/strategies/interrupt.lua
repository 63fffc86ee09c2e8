-- Stop what runs on the thread, keep its work, admit the newcomer.
return function(request)
  return { admit = true, cancel = "all", action = "interrupt", after = request.finalizing }
end
