-- Everything may run at once.
return function()
  return { admit = true }
end
