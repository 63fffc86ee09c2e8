-- Stop what runs on the thread, keep its work, admit the newcomer.
return function()
  return { admit = true, cancel = "all", action = "interrupt" }
end
